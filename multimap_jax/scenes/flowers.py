"""The family "flowers": one flower in front of leaves that are out of focus.

Object coordinates: the blossom fills about the circle of radius 1 around (0, 0).
"""

import numpy as np
from PIL import Image

from multimap_jax.scenes import canvas

# hue, its spread, lowest and highest saturation, lowest and highest value
COLORS = {
    "red": (0.985, 0.015, 0.8, 1.0, 0.65, 0.95),
    "yellow": (0.145, 0.012, 0.75, 1.0, 0.9, 1.0),
    "white": (0.12, 0.05, 0.0, 0.06, 0.92, 1.0),
    "purple": (0.77, 0.025, 0.55, 0.85, 0.45, 0.8),
    "pink": (0.93, 0.02, 0.25, 0.5, 0.9, 1.0),
    "orange": (0.07, 0.012, 0.85, 1.0, 0.9, 1.0),
    "blue": (0.62, 0.03, 0.55, 0.9, 0.55, 0.9),
}


def _petal(length, width, pointed, angle, start=0.12):
    """A petal's outline [points, 2] that grows outwards from the centre at an angle in radians."""
    along = np.linspace(0, 1, 16)
    side = width * np.sin(np.pi * along**0.8) ** (1.3 if pointed else 0.55)
    outline = np.concatenate([np.stack([along, side], 1), np.stack([along, -side], 1)[::-1]])
    outline = outline * [length - start, 1] + [start, 0]
    return canvas.Placement(0.0, 0.0, 1.0, angle).apply(outline)


def _petals(picture, place, color, count, length, width, pointed, generator):
    """Draws a ring of petals, each a little lighter or darker than the next."""
    turn = generator.uniform(0, 2 * np.pi)
    for number in range(count):
        outline = _petal(length, width, pointed, turn + 2 * np.pi * number / count)
        mask = canvas.polygon_mask(place.apply(outline))
        picture = canvas.blend(
            picture, mask, np.clip(color * (0.84 + 0.16 * (number % 2) + 0.06 * generator.random()), 0, 1)
        )
    return picture


def _disc(picture, place, radius, color):
    return canvas.blend(picture, canvas.polygon_mask(place.apply(canvas.arc(0, 0, radius, radius, 0, 360))), color)


def _daisy(picture, place, color, generator):
    picture = _petals(picture, place, color, generator.integers(13, 18), 1.0, 0.11, False, generator)
    return _disc(picture, place, generator.uniform(0.2, 0.26), (0.85, 0.6, 0.1))


def _sunflower(picture, place, color, generator):
    picture = _petals(picture, place, color, generator.integers(16, 22), 1.0, 0.14, True, generator)
    return _disc(picture, place, generator.uniform(0.45, 0.52), (0.25, 0.14, 0.06))


def _lily(picture, place, color, generator):
    picture = _petals(picture, place, color, 6, 1.05, 0.26, True, generator)
    for angle in generator.uniform(0, 2 * np.pi) + np.arange(6) * np.pi / 3:
        tip = 0.42 * np.array([np.cos(angle), np.sin(angle)])
        picture = canvas.blend(
            picture, canvas.stroke_mask([place.apply([(0, 0), tip])], 0.04 * place.size), (0.5, 0.6, 0.2)
        )
        picture = canvas.blend(
            picture, canvas.stroke_mask([place.apply([tip, 1.15 * tip])], 0.1 * place.size), (0.5, 0.25, 0.05)
        )
    return picture


def _rose(picture, place, color, generator):
    for ring, radius in enumerate((1.0, 0.8, 0.6, 0.42, 0.24)):
        count, turn = max(3, 6 - ring), generator.uniform(0, 2 * np.pi)
        for number in range(count):
            x, y = (
                0.45
                * radius
                * np.array([np.cos(turn + 2 * np.pi * number / count), np.sin(turn + 2 * np.pi * number / count)])
            )
            mask = canvas.polygon_mask(place.apply(canvas.arc(x, y, 0.6 * radius, 0.6 * radius, 0, 360)))
            picture = canvas.blend(
                picture, mask, np.clip(color * (0.62 + 0.16 * ((number + ring) % 3) + 0.03 * ring), 0, 1)
            )
    return picture


def _tulip(picture, place, color, generator):
    stem = canvas.stroke_mask([place.apply([(0.0, 0.6), (0.1, 2.6)])], 0.13 * place.size)
    picture = canvas.blend(picture, stem, (0.25, 0.5, 0.18))
    cup = np.concatenate(
        [
            [(-0.72, -0.75)],
            canvas.arc(0, 0.1, 0.72, 0.75, 180, 0),
            [(0.72, -0.75), (0.36, -0.25), (0.0, -0.85), (-0.36, -0.25)],
        ]
    )
    picture = canvas.blend(picture, canvas.polygon_mask(place.apply(cup)), color)
    middle = np.concatenate([[(0.0, -0.95)], canvas.arc(0, 0.1, 0.36, 0.72, 0, 180)])
    return canvas.blend(picture, canvas.polygon_mask(place.apply(middle)), np.clip(0.82 * color, 0, 1))


SPECIES = {"rose": _rose, "tulip": _tulip, "daisy": _daisy, "lily": _lily, "sunflower": _sunflower}


def _leaves(generator):
    """A green background out of focus: float32 [SIZE, SIZE, 3]."""
    cells = np.stack(
        [
            canvas.color_from_hue(
                generator.uniform(0.2, 0.42), generator.uniform(0.2, 0.7), generator.uniform(0.12, 0.55)
            )
            for _ in range(36)
        ]
    )
    blurred = Image.fromarray((255 * cells.reshape(6, 6, 3)).astype(np.uint8)).resize(
        (canvas.SIZE,) * 2, Image.Resampling.BICUBIC
    )
    return np.asarray(blurred, np.float32) / 255


def draw(generator, labels):
    """A picture, uint8 [SIZE, SIZE, 3], of a flower with these labels: {"color": , "species": }."""
    size = generator.uniform(0.27, 0.38)
    x, y = generator.uniform(1.1 * size, 1 - 1.1 * size, size=2)
    place = canvas.Placement(x, y, size, generator.uniform(-0.4, 0.4))
    hue, spread, *ranges = COLORS[labels["color"]]
    tone = generator.uniform(*ranges[:2]), generator.uniform(*ranges[2:])
    color = canvas.color_from_hue(hue + generator.uniform(-spread, spread), *tone)
    return canvas.develop(SPECIES[labels["species"]](_leaves(generator), place, color, generator), generator)
