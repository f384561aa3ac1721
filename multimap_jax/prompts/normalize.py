"""One form of words, for comparing them. Imports nothing heavy."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


def normal_form(word: str) -> str:
    """A word without regard to case, blanks, or how its letters are composed: "Red", "red " and "red" are one word.

    For comparing alone: what is shown is the spelling that was given.
    """
    folded = unicodedata.normalize("NFC", word).casefold()
    return " ".join(unicodedata.normalize("NFC", folded).split())


def unique_words(words: Iterable[str], without: Iterable[str] = ()) -> list[str]:
    """The words in their order, of each normal form the first, and none of those in `without`."""
    seen, found = set(map(normal_form, without)), []
    for word in words:
        form = normal_form(word)
        if form not in seen:
            seen.add(form)
            found.append(word)
    return found
