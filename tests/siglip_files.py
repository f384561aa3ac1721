"""Tiny tokenizers in the files of SigLIP and SigLIP 2."""

import io
import json
from pathlib import Path

COLORS = ("red", "green", "blue", "yellow")
SENTENCES = [
    *(f"a {thing} with the color of {color}" for color in COLORS for thing in ("fruit", "photo", "drawing")),
    *(f"{color} {color} thing colored {color} as a {color} fruit" for color in COLORS),
    *(f"the {what} of the {what}s looking like {what}ish" for what in ("banana", "orange", "ceramic", "plastic")),
    "café façade straße ångström i̇stanbul fish 0123456789",
    "日本語 テスト русский עברית हिन्दी",
    "letters abcdefghijklmnopqrstuvwxyz",
]
GEMMA = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>")
TEXT = "\n !\"#$%&'()*+,-./0123456789:;<=>?@abcdefghijklmnopqrstuvwxyzßàéïöü\u0301日本語ру🍎▁"


def write_spiece(folder: Path, **settings) -> int:
    """Trains a spiece.model as that of SigLIP; returns its size."""
    import sentencepiece

    trained = io.BytesIO()
    special = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
    usual = {"vocab_size": 220, "model_type": "unigram", "hard_vocab_limit": False, "minloglevel": 2, "num_threads": 1}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=trained, **(special | usual | settings)
    )
    (folder / "spiece.model").write_bytes(trained.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue()).get_piece_size()


def write_siglip(folder: Path, **settings) -> int:
    """The tokenizer.json that transformers' converter makes of a spiece.model; returns its size."""
    import transformers
    from transformers.convert_slow_tokenizer import SpmConverter

    size = write_spiece(folder, **settings)
    slow = transformers.SiglipTokenizer(str(folder / "spiece.model"))
    SpmConverter(slow).converted().save(str(folder / "tokenizer.json"))
    (folder / "spiece.model").unlink()
    return size


def merges_of(words) -> list[tuple[str, str]]:
    """Merges that make one token of each word."""
    merges: list[tuple[str, str]] = []
    for word in words:
        parts = list(word)
        for pair in merges:
            places = [i for i in range(len(parts) - 1) if (parts[i], parts[i + 1]) == pair]
            for i in reversed(places):
                parts[i : i + 2] = ["".join(pair)]
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts[:2] = ["".join(parts[:2])]
    return merges


def write_siglip_2(folder: Path) -> int:
    """A tokenizer.json as Gemma's, whose normalizer keeps capitals, and its settings; returns its size."""
    merges = merges_of([*COLORS, "fruit", "color", *(f"▁{word}" for word in (*COLORS, "fruit", "color", "of", "a"))])
    names = [*GEMMA, *(f"<0x{byte:02X}>" for byte in range(256)), *TEXT, *map("".join, merges)]
    vocabulary = {name: index for index, name in enumerate(dict.fromkeys(names))}
    added = [{"id": vocabulary[name], "content": name, "special": True} for name in GEMMA]
    added.append({"id": len(vocabulary), "content": "\n\n", "special": False})
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    model = {"type": "BPE", "dropout": None, "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}
    whole = [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<eos>", "type_id": 0}}]
    end = {"id": "<eos>", "ids": [1], "tokens": ["<eos>"]}
    content = {
        "version": "1.0",
        "added_tokens": [flags | token for token in added],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": whole,
            "pair": [*whole, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<eos>": end},
        },
        "model": model | {"vocab": vocabulary, "merges": merges},
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))
    settings = {"tokenizer_class": "GemmaTokenizer", "padding_side": "right"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return len(vocabulary) + 1
