"""Text to token ids, by the tokenizer that lies in the checkpoint's directory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from multimap_jax.encoders.clip.config import TextConfig
from multimap_jax.encoders.clip.transformers_alone import transformers_alone
from multimap_jax.storage.reading import explained, read_json

ADDED = 1000  # special tokens: CLIP has two, and each costs more than the one before
COPY = "copy vocab.json and merges.txt (or tokenizer.json) of this checkpoint there"


class Tokenizer:
    """CLIP's byte-pair tokenizer. `start` and `end` are the ids that open and close every text."""

    def __init__(self, directory: Path, config: TextConfig):
        _check_files(directory)
        with transformers_alone():
            from transformers.models.clip.tokenization_clip import CLIPTokenizer

            with explained(f"the tokenizer in {directory}", COPY):
                check_ids(directory, config.vocabulary)
                self._tokenizer = CLIPTokenizer.from_pretrained(directory)
                check_merges(self._tokenizer)
                self.encode("a word")  # settings of the wrong kind are noticed where they are used
        self.context = config.context
        self.start, self.end = self._tokenizer.bos_token_id, self._tokenizer.eos_token_id
        # A damaged vocabulary gives a working tokenizer of two tokens, so its size is looked at.
        if not 2 < len(self._tokenizer) <= config.vocabulary:
            raise ValueError(
                f"the tokenizer in {directory} has {len(self._tokenizer)} tokens, config.json says "
                f"{config.vocabulary}: {COPY}"
            )
        if not all(type(each) is int and 0 <= each < config.vocabulary for each in (self.start, self.end)):
            raise ValueError(f"the tokenizer in {directory} knows no tokens that begin and end a text: {COPY}")
        if config.end_token not in (None, self.end):
            raise ValueError(
                f"the tokenizer in {directory} ends texts with token {self.end}, where the tower of config.json "
                f"looks for {config.end_token}: {COPY}"
            )

    def encode(self, text: str) -> list[int]:
        """Ids of a text without start and end."""
        return self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]

    def pad(self, texts: Sequence[str]) -> np.ndarray:
        """int32 [texts, t]: start, tokens, end, then end tokens; t is the longest, rounded up to 8 for fewer shapes.

        ValueError for a text longer than the context.
        """
        rows = [[self.start, *self.encode(text), self.end] for text in texts]
        longest = max(range(len(rows)), key=lambda i: len(rows[i]))
        if len(rows[longest]) > self.context:
            raise ValueError(
                f"a text has {len(rows[longest])} tokens, the context holds {self.context}: shorten "
                f"{texts[longest][:80]!r}"
            )
        length = min(-(-len(rows[longest]) // 8) * 8, self.context)
        return np.array([row + [self.end] * (length - len(row)) for row in rows], np.int32)


def check_ids(directory: Path, vocabulary: int) -> None:
    """ValueError where the files of a tokenizer give tokens other ids than 0 to vocabulary - 1: the library that reads
    them asks for memory for every id up to the largest."""
    found: list = []
    for name in ("vocab.json", "added_tokens.json"):
        if (directory / name).exists():
            found += read_json(directory / name).values()
    if (directory / "tokenizer.json").exists():
        content = read_json(directory / "tokenizer.json")
        found += content["model"]["vocab"].values()
        found += [token["id"] for token in content.get("added_tokens", ())]
    if (directory / "tokenizer_config.json").exists():
        settings = read_json(directory / "tokenizer_config.json")
        found += map(int, settings.get("added_tokens_decoder") or ())
        added = max(len(value) for value in [(), *settings.values()] if isinstance(value, list | dict | tuple))
        if added > ADDED:
            raise ValueError(f"tokenizer_config.json lists {added:,} tokens, expected {ADDED:,} at most")
    wrong = [each for each in found if type(each) is not int or not 0 <= each < vocabulary]
    if wrong:
        raise ValueError(f"a token has the id {str(wrong[0])[:40]}, config.json says {vocabulary} tokens")


def check_merges(tokenizer) -> None:
    """ValueError where the merges do not make every token that is longer than a letter, as those of a file that was cut
    short: such a tokenizer works, and gives every word other tokens than the checkpoint was trained with."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    made = {left + right for left, right in model["merges"]} | set(tokenizer.added_tokens_encoder)
    lost = [token for token in model["vocab"] if len(token.removesuffix("</w>")) > 1 and token not in made]
    if lost:
        raise ValueError(f"no merge makes {len(lost):,} of {len(model['vocab']):,} tokens, the first {lost[0]!r}")


def _check_files(directory: Path) -> None:
    if (directory / "tokenizer.json").exists():
        return
    missing = [name for name in ("vocab.json", "merges.txt") if not (directory / name).exists()]
    if missing:
        raise FileNotFoundError(
            f"{directory} has no tokenizer: {' and '.join(missing)} missing (or one tokenizer.json); "
            "save it with CLIPTokenizer.save_pretrained"
        )
