"""A byte-level tokenizer in CLIP's layout. Its merges are learnt from a list of words: each of them becomes one token.

Any other text falls apart into bytes, so nothing is ever unknown. Ids: the 256 bytes, the 256 bytes that end a word,
one for each merge, the start and the end of a text. Source of the procedure: Sennrich et al. 2016 (byte-pair encoding).
"""

import collections
import json
import pathlib

START, END, END_OF_WORD = "<|startoftext|>", "<|endoftext|>", "</w>"


def byte_letters():
    """A letter for each of the 256 bytes, as byte-level tokenizers write them: printable bytes stand for themselves."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    stand_ins = iter(range(256, 512))
    return [chr(byte if byte in printable else next(stand_ins)) for byte in range(256)]


def _merge_pair(word, pair):
    """A word as pieces, with every occurrence of the two neighbouring pieces `pair` joined."""
    pieces = []
    for piece in word:
        if pieces and (pieces[-1], piece) == pair:
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return tuple(pieces)


def learn_merges(words):
    """Pairs of pieces in the order in which they are joined, until every word is one piece."""
    letters = byte_letters()
    split = [[letters[byte] for byte in word.lower().encode()] for word in sorted(set(words))]
    split = [(*word[:-1], word[-1] + END_OF_WORD) for word in split]
    merges = []
    while any(len(word) > 1 for word in split):
        counts = collections.Counter(pair for word in split for pair in zip(word, word[1:], strict=False))
        # The most frequent pair, the first of the alphabet where several are.
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(pair)
        split = [_merge_pair(word, pair) for word in split]
    return merges


def write_tokenizer(directory, words, context):
    """Write vocab.json, merges.txt and tokenizer_config.json, read by `transformers.CLIPTokenizer.from_pretrained`.

    words: those that become one token each. CLIP cuts numbers into digits before it merges, so only single digits can.
    context: the longest text in tokens. Returns the number of tokens in the vocabulary.
    """
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    letters, merges = byte_letters(), learn_merges(words)
    tokens = letters + [letter + END_OF_WORD for letter in letters] + [first + last for first, last in merges]
    vocabulary = {token: number for number, token in enumerate([*tokens, START, END])}
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": context,
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "unk_token": END,
    }
    lines = ["#version: 0.2", *(f"{first} {last}" for first, last in merges)]
    (directory / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    (directory / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    return len(vocabulary)
