"""The tokenizer of a checkpoint: text to token ids."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from multimap_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """Made by a family of checkpoints from their files.

    Attributes:
      encode: text -> its ids, without those at the start and end of every text.
      start: the id at the start of every text, None if there is none. end: the id at its end.
      context: the most ids of a text, start and end among them.
      padding: the id that fills every text up to the context; None: end ids do, as far as the longest text needs them,
        and have no influence.
      unknown: the id of what has no other one, None if there is none.
      encode_sides: the texts left and right of one token -> the ids of each; None: those that `encode` gives.
    """

    encode: Callable[[str], list[int]]
    start: int | None
    end: int
    context: int
    padding: int | None = None
    unknown: int | None = None
    encode_sides: Callable[[str, str], tuple[list[int], list[int]]] | None = None

    @property
    def before(self) -> int:
        """The number of ids before a text's own."""
        return int(self.start is not None)

    def whole(self, ids: Iterable[int]) -> tuple[int, ...]:
        """The ids of a text, from its start to its end."""
        return (*(() if self.start is None else (self.start,)), *ids, self.end)

    def placeholder(self) -> list[int]:
        """[an id to stand where a proxy goes]."""
        return (self.encode("*") or self.encode("x"))[-1:]

    def is_representable(self, word: str) -> bool:
        """Whether there are ids for a word, other than the special ones."""
        ids = self.encode(word)
        return bool(ids) and not {self.start, self.end, self.unknown} & set(ids)

    def pad(self, texts: Sequence[str]) -> np.ndarray:
        """int32 [texts, t]: start, tokens, end, then `padding` up to the context or, without one, end tokens; t is the
        longest then, rounded up to 8 for fewer shapes.

        Raises InputError for a text longer than the context.
        """
        rows = [self.whole(self.encode(text)) for text in texts]
        longest = max(range(len(rows)), key=lambda i: len(rows[i]))
        if len(rows[longest]) > self.context:
            raise InputError(
                f"a text has {len(rows[longest])} tokens, the context holds {self.context}: shorten "
                f"{texts[longest][:80]!r}"
            )
        fill, length = self.padding, self.context
        if fill is None:
            fill, length = self.end, min(-(-len(rows[longest]) // 8) * 8, self.context)
        return np.array([row + (fill,) * (length - len(row)) for row in rows], np.int32)
