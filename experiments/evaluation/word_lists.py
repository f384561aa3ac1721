"""The three word lists that quality.py asks with: the true names, too many words, too few."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.evaluation.datasets import MORE_PRODUCTS

PROTOCOLS = ("exact", "superset", "subset")
# Other words for the same thing, as a language model gives them: plurals and synonyms.
SYNONYMS = {
    "red": ("crimson", "scarlet"),
    "green": ("emerald",),
    "yellow": ("golden",),
    "blue": ("azure",),
    "purple": ("violet",),
    "white": ("ivory",),
    "black": ("ebony",),
    "burgundy": ("maroon",),
    "ball": ("balls",),
    "cylinder": ("cylinders",),
    "cherry": ("cherries",),
    "daisy": ("daisies",),
    "lily": ("lilies",),
    "suv": ("suvs",),
    "happy": ("smiling", "happiness"),
    "angry": ("anger",),
    "sad": ("sadness", "unhappy"),
    "neutral": ("calm",),
    "sunglasses": ("shades",),
    "straight": ("forward",),
    "ace": ("1",),
    "jack": ("j",),
    "queen": ("q",),
    "king": ("k",),
    **{word: (word + "s",) for word in "apple banana grape rose tulip hyacinth sedan truck hatchback".split()},
    **{word: (word.removesuffix("s"),) for word in ("clubs", "diamonds", "hearts", "spades")},
    **{word: (str(n),) for n, word in enumerate("two three four five six seven eight nine".split(), 2)},
}
# Words of the same kind that no picture of the set shows, unless its true names say so.
OTHERS = {
    "color": ("orange", "purple", "blue"),
    "shape": ("cube", "cone", "ring"),
    "fruit species": ("pears", "strawberries", "oranges", "plums", "kiwi"),
    "flower species": ("sunflower", "iris", "orchid", "tulip"),
    "order": ("joker", "eleven", "zero"),
    "suits": ("stars", "crowns"),
    "emotion": ("surprise", "fear", "disgust"),
    "glass": ("goggles", "fashionable"),
    "pose": ("down", "nodding", "squinting", "tilting head"),
    "type": ("van", "bus", "coupe", "convertible"),
    **{f"product {aspect}": words for aspect, words in MORE_PRODUCTS.items()},
}


def word_list(protocol: str, subject: str, aspect: str, names: Sequence[str], turn: int = 0) -> tuple[str, ...] | None:
    """The candidate words for true `names`, sorted; None where the protocol does not apply.

    "exact": the names. "superset": with plurals, synonyms and words that nothing fits, two to four times as many; does
    not apply where we know of none. A catalogue's products have no synonyms, only other products of it.
    "subset": a third of the names left out, beginning with number `turn`; does not apply to two names.
    """
    names = sorted(names)
    if protocol == "exact":
        return tuple(names)
    if protocol == "superset":
        more = [] if subject == "product" else [word for name in names for word in SYNONYMS.get(name, ())]
        more += OTHERS.get(f"{subject} {aspect}", () if subject == "product" else OTHERS.get(aspect, ()))
        return tuple(sorted(dict.fromkeys([*names, *more]))) if more else None
    if protocol != "subset":
        raise ValueError(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")
    if len(names) < 3:
        return None
    missing = {names[(turn + 3 * i) % len(names)] for i in range(max(1, round(len(names) / 3)))}
    return tuple(name for name in names if name not in missing)
