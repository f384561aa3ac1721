"""Converts text to token ids with the tokenizer in a SigLIP's directory.

SigLIP has a Unigram vocabulary of SentencePiece, and texts in lower case without punctuation: the ids are those of
`transformers.SiglipTokenizer`. SigLIP 2 has Gemma's byte-pair encoding, and texts in lower case: the ids are those of
`transformers.Siglip2Tokenizer`. Special tokens written in a text are text, as in the training of both; in transformers
that is `split_special_tokens=True`.
"""

from __future__ import annotations

import re
import string
from pathlib import Path

from multimap_jax.encoders.clip.config import TextConfig
from multimap_jax.encoders.clip.tokenizer import ADDED_TOKENS, as_pair
from multimap_jax.encoders.siglip.sentencepiece import Charsmap, Unigram, read_vocabulary, saved_vocabulary
from multimap_jax.encoders.tokenizer import Tokenizer
from multimap_jax.errors import MissingError
from multimap_jax.storage.reading import explained, read_json

ADVICE = "copy tokenizer.json (or spiece.model) of this checkpoint there"
MARK = "▁"  # stands for a space, most often as the first letter of a token
PADDED_ROWS = 512  # a tower's table has fewer rows than this without a token
EXTRA = "<extra_id_"  # the last tokens of T5's vocabularies, which are SigLIP's too; its towers have no rows for them
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def read_tokenizer(directory: Path, config: TextConfig) -> Tokenizer:
    """The tokenizer in `directory`. Raises MissingError if there is none, ValueError if its files are damaged, of
    another kind of checkpoint, or do not match config.json."""
    saved, model = directory / "tokenizer.json", directory / "spiece.model"
    if not saved.exists() and not model.exists():
        raise MissingError(f"{directory} has no tokenizer: tokenizer.json missing (or spiece.model); {ADVICE}")
    with explained(f"the tokenizer in {directory}", ADVICE):
        if not saved.exists():
            return siglip_tokenizer(read_vocabulary(model), config)
        content = read_json(saved)
        kind, vocabulary = content["model"].get("type"), content["model"]["vocab"]
        if kind == "Unigram":
            return siglip_tokenizer(saved_vocabulary(content), config)
        if kind == "BPE" and {"<eos>", "<pad>"} <= set(vocabulary):
            return siglip_2_tokenizer(content, config)
        found = "BPE without <eos> and <pad>" if kind == "BPE" else str(kind)[:40]
        raise ValueError(f"it is {found}, expected SigLIP's Unigram or SigLIP 2's BPE")


def siglip_tokenizer(vocabulary: Unigram, config: TextConfig) -> Tokenizer:
    from tokenizers import Tokenizer as Backend
    from tokenizers import models

    pieces = [(piece, score) for piece, score in vocabulary.pieces if EXTRA not in piece]
    check_size(len(pieces), config)
    end = next((index for index, (piece, _) in enumerate(pieces) if piece == "</s>"), None)
    if end is None:
        raise ValueError("it has no token </s> for the end of a text")
    if type(vocabulary.unknown) is not int or not 0 <= vocabulary.unknown < len(pieces):
        raise ValueError(f"unknown letters have the id {str(vocabulary.unknown)[:40]}")
    # A text has no spaces when it is split, so that pieces with a space are never found in it.
    pieces = [(f"{piece} " if piece in vocabulary.hidden else piece, score) for piece, score in pieces]
    backend = Backend(models.Unigram(pieces, vocabulary.unknown, vocabulary.byte_fallback))
    charsmap = Charsmap(vocabulary.charsmap)

    def marked(text: str, start: str = "") -> str:
        """A text as in training: in lower case, without punctuation, a mark for the white space between two words."""
        text = start + text.replace(MARK, " ").lower().translate(NO_PUNCTUATION)
        return re.sub(" +", MARK, charsmap.replace(re.sub(r"\s+", " ", text)))

    def ids(text: str) -> list[int]:
        return backend.encode(text, add_special_tokens=False).ids

    def encode(text: str) -> list[int]:
        return ids(marked(text, MARK).rstrip(MARK))

    def encode_sides(left: str, right: str) -> tuple[list[int], list[int]]:
        return ids(marked(left, MARK).removesuffix(MARK)), ids(marked(right).rstrip(MARK))

    encode("a word")  # values of the wrong type fail only when they are used
    return Tokenizer(encode, None, end, config.context, end, vocabulary.unknown, encode_sides)


def siglip_2_tokenizer(content: dict, config: TextConfig) -> Tokenizer:
    from tokenizers import AddedToken, models, normalizers
    from tokenizers import Tokenizer as Backend

    vocabulary, merges = content["model"]["vocab"], content["model"]["merges"]
    # Those that are not special, such as several ends of lines, are found in a text before it is split.
    added = [token for token in content.get("added_tokens") or () if not token["special"]]
    if len(added) > ADDED_TOKENS:
        raise ValueError(f"it lists {len(added):,} tokens that are not special, expected at most {ADDED_TOKENS:,}")
    ids = [*vocabulary.values(), *(token["id"] for token in added)]
    wrong = [token for token in ids if type(token) is not int or not 0 <= token < config.vocabulary]
    if wrong:
        raise ValueError(f"a token has the id {str(wrong[0])[:40]}, config.json says {config.vocabulary} tokens")
    unknown = vocabulary.get("<unk>")
    name = None if unknown is None else "<unk>"
    pairs = list(map(as_pair, merges))
    backend = Backend(models.BPE(vocabulary, pairs, unk_token=name, fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", MARK)])
    backend.add_tokens([AddedToken(**{key: token[key] for key in token if key != "id"}) for token in added])
    moved = [token["id"] for token in added if backend.token_to_id(token["content"]) != token["id"]]
    if moved:
        raise ValueError(f"its token of the id {moved[0]} does not follow those before it")
    check_size(backend.get_vocab_size(), config)

    def encode(text: str) -> list[int]:
        return backend.encode(text, add_special_tokens=False).ids

    def encode_sides(left: str, right: str) -> tuple[list[int], list[int]]:
        return encode(left[:-1] if left.endswith((" ", MARK)) else left), encode(right)

    encode("a word")  # as above
    end, padding = vocabulary["<eos>"], vocabulary["<pad>"]
    return Tokenizer(encode, None, end, config.context, padding, unknown, encode_sides)


def check_size(size: int, config: TextConfig) -> None:
    """ValueError if a tower of this configuration was not trained with so many tokens."""
    if not max(2, config.vocabulary - PADDED_ROWS) < size <= config.vocabulary:
        raise ValueError(f"it has {size:,} tokens, config.json says {config.vocabulary:,}")
