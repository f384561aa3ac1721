"""The families of scenes, and the rule for the labels and pixels of picture `index` of a family."""

import dataclasses
import zlib
from collections.abc import Callable, Mapping

import numpy as np

from multimap_jax.errors import names_arguments
from multimap_jax.scenes import aloi, card, cars, cmuface, flowers, fruit, fruit360
from multimap_jax.scenes.difficulty import AMOUNTS, add_hardship

# Tags for independent streams of random numbers. They go last in a seed, because numpy pads short seeds with zeros.
_LABELS, _PIXELS, _HARDSHIP = 1, 2, 3


@dataclasses.dataclass(frozen=True)
class Scene:
    """One family of scenes.

    name: the name for `render_scene`. subject: what the pictures show, for prompts.
    aspects: aspect -> the words that are drawn, all combinations equally often.
    draw: (numpy Generator, labels) -> uint8 [h, w, 3].
    more: aspect -> further words that `draw` knows; only the training of the embedded checkpoint uses them.
    """

    name: str
    subject: str
    aspects: Mapping[str, tuple[str, ...]]
    draw: Callable[[np.random.Generator, Mapping[str, str]], np.ndarray]
    more: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


SCENES: dict[str, Scene] = {
    scene.name: scene
    for scene in (
        Scene(
            name="aloi",
            subject="object",
            aspects={"color": aloi.COLORS, "shape": ("ball", "cylinder")},
            draw=aloi.draw,
            more={"color": aloi.MORE_COLORS, "shape": aloi.MORE_SHAPES},
        ),
        Scene(
            name="fruit",
            subject="fruit",
            aspects={"color": ("red", "green", "yellow"), "species": ("apple", "banana", "grape")},
            draw=fruit.draw,
            more={"color": ("orange", "purple", "blue"), "species": ("pear", "cherry", "strawberry")},
        ),
        Scene(
            name="fruit360",
            subject="fruit",
            aspects={"color": fruit360.COLORS, "species": fruit360.SPECIES},
            draw=fruit360.draw,
        ),
        Scene(
            name="card",
            subject="card",
            aspects={"order": tuple(card.RANKS), "suits": tuple(card.SUITS)},
            draw=card.draw,
        ),
        Scene(
            name="cmuface",
            subject="face",
            aspects={
                "emotion": cmuface.EMOTIONS,
                "glass": cmuface.GLASSES,
                "identity": cmuface.IDENTITIES,
                "pose": cmuface.POSES,
            },
            draw=cmuface.draw,
        ),
        Scene(
            name="cars",
            subject="car",
            aspects={"color": ("red", "blue", "white", "black"), "type": ("sedan", "suv", "truck")},
            draw=cars.draw,
            more={"color": ("yellow", "green", "silver"), "type": ("van",)},
        ),
        Scene(
            name="flowers",
            subject="flower",
            aspects={
                "color": ("red", "yellow", "white", "purple"),
                "species": ("rose", "tulip", "daisy", "lily"),
            },
            draw=flowers.draw,
            more={"color": ("pink", "orange", "blue"), "species": ("sunflower",)},
        ),
    )
}


def find_scene(name: str) -> Scene:
    """The Scene of this name; ValueError with the known names otherwise."""
    if name not in SCENES:
        raise ValueError(f"unknown scene {name!r}, known: {', '.join(sorted(SCENES))}")
    return SCENES[name]


def _generator(name: str, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(name.encode()), *numbers])


def scene_labels(name: str, *, seed: int, index: int) -> dict[str, str]:
    """The labels of one picture: {aspect: word}.

    Indices run through cycles in which every combination occurs once. Within a cycle each aspect repeats its words in
    turn (the digits of the position, summed, as in a Latin square). So any range of indices has almost equal counts of
    each word, and the aspects stay independent.
    """
    aspects = find_scene(name).aspects
    cycle, position = divmod(index, int(np.prod([len(words) for words in aspects.values()])))
    generator = _generator(name, seed, cycle, _LABELS)
    labels, total = {}, 0
    for aspect, words in aspects.items():
        position, digit = divmod(position, len(words))
        total += digit
        labels[aspect] = words[generator.permutation(len(words))[total % len(words)]]
    return labels


def _draw_other(name: str, generator: np.random.Generator) -> np.ndarray:
    """A picture of a random family with another subject than `name`, uint8 [128, 128, 3]."""
    others = [scene for scene in SCENES.values() if scene.subject != SCENES[name].subject]
    scene = others[generator.integers(len(others))]
    return scene.draw(generator, {aspect: generator.choice(words) for aspect, words in scene.aspects.items()})


@names_arguments
def render_scene(name: str, *, seed: int = 0, index: int = 0, difficulty: int = 0) -> tuple[np.ndarray, dict[str, str]]:
    """Draw one picture of a family. The same arguments always give the same picture.

    difficulty: from 0, the object alone, to 3, where it may be small, among others, partly hidden and badly lit. The
    labels stay the same.

    Returns: the picture, uint8 [128, 128, 3], and its labels, {"color": "red", "species": "apple"}.
    """
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must be 0 or more, found seed={seed}, index={index}")
    if difficulty not in (0, *AMOUNTS):
        raise ValueError(f"difficulty must be one of 0, {', '.join(map(str, AMOUNTS))}, found {difficulty!r}")
    labels = scene_labels(name, seed=seed, index=index)
    picture = find_scene(name).draw(_generator(name, seed, index, _PIXELS), labels)
    if difficulty:
        generator = _generator(name, seed, index, difficulty, _HARDSHIP)
        picture = add_hardship(picture, difficulty, generator, lambda generator: _draw_other(name, generator))
    return picture, labels
