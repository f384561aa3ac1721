"""Converts text to token ids with the tokenizer in the checkpoint's directory.

CLIP's byte-pair encoding is set up here with the `tokenizers` library and gives the same ids as
`transformers.CLIPTokenizer`. Any other tokenizer is run by transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from multimap_jax.encoders.clip.config import TextConfig
from multimap_jax.encoders.tokenizer import Tokenizer
from multimap_jax.errors import InputError, MissingError
from multimap_jax.storage.reading import explained, read_json

ADDED_TOKENS = 1000  # maximum number of special tokens: CLIP has two, and each one costs more time than the one before
ADVICE = "copy vocab.json and merges.txt (or tokenizer.json) of this checkpoint there"
CLIP_TOKENIZERS = (None, "CLIPTokenizer", "CLIPTokenizerFast")
START, END = "<|startoftext|>", "<|endoftext|>"
# In the order in which transformers adds them; None for those that CLIP does not have.
SPECIAL_TOKENS = dict.fromkeys(
    ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
)
SPECIAL_TOKENS |= {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
# Settings that only transformers handles, if they are set.
OTHER_SETTINGS = (
    "additional_special_tokens",
    "extra_special_tokens",
    "split_special_tokens",
    "init_inputs",
    "vocab",
    "merges",
)
# Pieces of a text that merges never cross (Radford et al. 2021, the regular expression of the released tokenizer).
WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # one digit each


def read_tokenizer(directory: Path, config: TextConfig, name: str = "config.json") -> Tokenizer:
    """The tokenizer in `directory`. Raises InputError if its files do not match `config`, read from the file `name`,
    MissingError if there are none."""
    missing = [name for name in ("vocab.json", "merges.txt") if not (directory / name).exists()]
    if missing and not (directory / "tokenizer.json").exists() and not any(directory.glob("*.model")):
        raise MissingError(
            f"{directory} has no tokenizer: {' and '.join(missing)} missing (or one tokenizer.json); "
            "save it with CLIPTokenizer.save_pretrained"
        )
    with explained(f"the tokenizer in {directory}", ADVICE):
        check_ids(directory, config.vocabulary, name)
        encode, start, end, size = clip_tokenizer(directory) or other_tokenizer(directory)
        encode("a word")  # settings of the wrong type fail only when they are used
    problem = ""
    # A damaged vocabulary gives a working tokenizer with two tokens, so check its size.
    if not 2 < size <= config.vocabulary:
        problem = f"has {size} tokens, but {name} says {config.vocabulary}"
    elif not all(type(token) is int and 0 <= token < config.vocabulary for token in (start, end)):
        problem = "has no tokens for the start and end of a text"
    elif config.end_token not in (None, end):
        problem = f"ends texts with token {end}, but {name} says {config.end_token}"
    if problem or start is None or end is None:
        raise InputError(f"the tokenizer in {directory} {problem}: {ADVICE}")
    return Tokenizer(encode, start, end, config.context)


def clip_tokenizer(directory: Path) -> tuple[Callable, int | None, int | None, int] | None:
    """(encode, id of the start, id of the end, number of tokens); None for a tokenizer that is not CLIP's."""
    from tokenizers import Regex, models, normalizers, pre_tokenizers
    from tokenizers import Tokenizer as Backend

    settings = read_optional(directory / "tokenizer_config.json")
    saved = read_optional(directory / "tokenizer.json")
    if saved:
        model = saved["model"]
        if model.get("type", "BPE") != "BPE" or not isinstance(model["vocab"], dict) or "merges" not in model:
            return None
        vocabulary, merges = model["vocab"], list(map(as_pair, model["merges"]))
    else:
        vocabulary = read_json(directory / "vocab.json")
        lines = (directory / "merges.txt").read_bytes().decode("utf-8-sig").split("\n")
        merges = [as_pair(line.removesuffix("\r")) for line in lines if line and not line.startswith("#version")]
    added = added_tokens(directory, settings, saved)
    if added is None:
        return None
    tokens, names = added
    backend = Backend(models.BPE(vocabulary, merges, end_of_word_suffix="</w>", unk_token=names["unk_token"]))
    check_merges(vocabulary, merges, {token.content for token in tokens})
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    backend.add_tokens(tokens)
    start, end = (backend.token_to_id(names[name]) for name in ("bos_token", "eos_token"))
    return lambda text: backend.encode(text, add_special_tokens=False).ids, start, end, backend.get_vocab_size()


def added_tokens(directory: Path, settings: dict, saved: dict) -> tuple[list, dict[str, str]] | None:
    """(tokens that are found in a text before it is split, name -> special token), in the order in which transformers
    adds them; None if the files have settings that CLIP's do not.

    settings: tokenizer_config.json. saved: tokenizer.json, {} where there is none.
    """
    from tokenizers import AddedToken

    def as_token(entry: dict, label: str) -> AddedToken:
        return AddedToken(**{key: value for key, value in entry.items() if key != label})

    if "added_tokens_decoder" in settings:
        found = {int(index): AddedToken(**token) for index, token in settings["added_tokens_decoder"].items()}
    else:
        special = read_optional(directory / "special_tokens_map.json")
        typed = {"__type": "AddedToken", "special": True}
        settings |= {name: token | typed if isinstance(token, dict) else token for name, token in special.items()}
        found = {token["id"]: as_token(token, "id") for token in saved.get("added_tokens", ())}
    unknown = [name for name in settings if name.endswith("_token") and name not in SPECIAL_TOKENS]
    if (
        settings.get("tokenizer_class") not in CLIP_TOKENIZERS
        or (directory / "added_tokens.json").exists()
        or any(settings.get(name) for name in OTHER_SETTINGS)
        or any(isinstance(settings[name], str | dict) for name in unknown)
    ):
        return None
    by_content, named = {token.content: token for token in found.values()}, {}
    for name, usual in SPECIAL_TOKENS.items():
        token = settings.get(name, usual)
        if isinstance(token, dict) and token.get("__type") == "AddedToken":
            token = as_token(token, "__type")
        elif isinstance(token, str):
            token = AddedToken(token, special=True)
        elif token is not None or usual is not None:
            return None
        if token is not None:
            named[name] = by_content.get(token.content, token)
    tokens = [*(found[index] for index in sorted(found)), *named.values()]
    names = {name: token.content for name, token in named.items()}
    for token in tokens:
        token.special = token.special or token.content in names.values()
    return tokens, names


def read_optional(path: Path) -> dict:
    return read_json(path) if path.exists() else {}


def as_pair(merge: str | Sequence[str]) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def other_tokenizer(directory: Path) -> tuple[Callable, int | None, int | None, int]:
    """The result of `clip_tokenizer` for a tokenizer that transformers runs."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)

    def encode(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]

    return encode, tokenizer.bos_token_id, tokenizer.eos_token_id, len(tokenizer)


def check_ids(directory: Path, vocabulary: int, config: str) -> None:
    """ValueError if a tokenizer's files have token ids outside 0 to vocabulary - 1, because the library allocates
    memory for every id up to the largest."""
    found: list = []
    for name in ("vocab.json", "added_tokens.json"):
        found += read_optional(directory / name).values()
    if (directory / "tokenizer.json").exists():
        content = read_json(directory / "tokenizer.json")
        tokens = content["model"]["vocab"]
        found += tokens.values() if isinstance(tokens, dict) else range(len(tokens))
        found += [token["id"] for token in content.get("added_tokens", ())]
    settings = read_optional(directory / "tokenizer_config.json")
    found += map(int, settings.get("added_tokens_decoder") or ())
    added = max(len(value) for value in [(), *settings.values()] if isinstance(value, list | dict | tuple))
    if added > ADDED_TOKENS:
        raise ValueError(f"tokenizer_config.json lists {added:,} tokens, expected at most {ADDED_TOKENS:,}")
    wrong = [token for token in found if type(token) is not int or not 0 <= token < vocabulary]
    if wrong:
        raise ValueError(f"a token has the id {str(wrong[0])[:40]}, {config} says {vocabulary} tokens")


def check_merges(vocabulary: dict, merges: list[tuple[str, str]], added: set[str]) -> None:
    """ValueError if the merges do not produce every token longer than a letter, as in a truncated file. Such a
    tokenizer works, but gives words other tokens than in training."""
    made = {left + right for left, right in merges} | added
    lost = [token for token in vocabulary if len(token.removesuffix("</w>")) > 1 and token not in made]
    if lost:
        first = ", ".join(map(repr, lost[:3]))
        raise ValueError(f"no merge produces {len(lost):,} of {len(vocabulary):,} tokens (first: {first})")
