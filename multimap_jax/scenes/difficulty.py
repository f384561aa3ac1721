"""Harder pictures: a drawn picture made small, cluttered, partly hidden, blurred, dark and off in colour.

A picture is float32 [SIZE, SIZE, 3] with values in 0…1 as in `canvas`; `found`, float32 [SIZE, SIZE] with values in
0…1, is the mask of its object.
"""

import dataclasses

import numpy as np
from PIL import Image, ImageFilter

from multimap_jax.scenes import canvas


@dataclasses.dataclass(frozen=True)
class Amounts:
    """The effects of a difficulty. Ranges are (lowest, highest), and every picture draws its own value from them.

    width: of the shrunk picture, as a share of the whole. texture: how strongly a blotchy pattern covers the ground.
    clutter: the number of colours of shapes and strokes. guest_chance, guest: how often another family's object is
    added, and its size as a share of the object's. hidden: the share of the object's area that is covered. blur: radius
    in pixels. exposure: the factor of the light. gamma: 1 leaves dark tones unchanged. cast: the gains of the three
    channels are 1 ± cast. grain: standard deviation.
    """

    width: tuple[float, float]
    texture: float
    clutter: int
    guest_chance: float
    guest: tuple[float, float]
    hidden: tuple[float, float]
    blur: tuple[float, float]
    exposure: tuple[float, float]
    gamma: tuple[float, float]
    cast: float
    grain: float


AMOUNTS = {
    1: Amounts(
        width=(0.85, 1.0), texture=0.1, clutter=1, guest_chance=0.4, guest=(0.4, 0.6), hidden=(0.03, 0.14),
        blur=(0.0, 0.7), exposure=(0.8, 1.0), gamma=(1.0, 1.2), cast=0.03, grain=0.02,
    ),
    2: Amounts(
        width=(0.68, 1.0), texture=0.2, clutter=2, guest_chance=0.6, guest=(0.45, 0.65), hidden=(0.05, 0.22),
        blur=(0.2, 1.1), exposure=(0.7, 1.0), gamma=(1.0, 1.3), cast=0.055, grain=0.035,
    ),
    3: Amounts(
        width=(0.55, 1.0), texture=0.3, clutter=3, guest_chance=0.8, guest=(0.5, 0.7), hidden=(0.08, 0.33),
        blur=(0.4, 1.5), exposure=(0.6, 1.0), gamma=(1.0, 1.4), cast=0.08, grain=0.05,
    ),
}  # fmt: skip


def add_hardship(picture, difficulty, generator, draw_guest):
    """The same object in a harder picture, uint8 [SIZE, SIZE, 3] -> uint8 [SIZE, SIZE, 3]; grey stays grey.

    draw_guest: numpy Generator -> a picture of another family, uint8 [SIZE, SIZE, 3].
    """
    amounts = AMOUNTS[difficulty]
    scene, found = _shrink(picture, _find_object(picture), amounts, generator)
    scene = _add_clutter(scene, found, amounts, generator)
    if generator.random() < amounts.guest_chance:
        scene = _add_guest(scene, found, draw_guest(generator), amounts, generator)
    scene = _hide_part(scene, found, generator.uniform(*amounts.hidden), generator)
    scene = _photograph(scene, amounts, generator)
    if _is_grey(picture):
        scene = np.repeat(scene.mean(-1, keepdims=True), 3, axis=-1)
    return np.round(255 * scene).astype(np.uint8)


def _is_grey(picture):
    return bool((picture == picture[..., :1]).all())


def _to_image(values):
    """float [h, w] or [h, w, 3] with values in 0…1 for Pillow."""
    return Image.fromarray(np.round(255 * np.clip(values, 0, 1)).astype(np.uint8))


def _resize(values, height, width):
    """Values in 0…1, [h, w] or [h, w, 3], at another size: float32 [height, width] or [height, width, 3]."""
    return np.asarray(_to_image(values).resize((width, height), Image.Resampling.BICUBIC), np.float32) / 255


def _find_object(picture):
    """The mask of the object of a picture, uint8: what differs from the ground between the left and right edges.

    For a grey picture, a portrait, it is the oval of the head.
    """
    if _is_grey(picture):
        return canvas.polygon_mask(canvas.arc(0.5, 0.46, 0.26, 0.33, 0, 360, 48))
    half = np.asarray(Image.fromarray(picture).reduce(2), np.float32)
    along = np.linspace(0, 1, half.shape[1], dtype=np.float32)[:, None]
    left, right = (np.median(side, axis=1)[:, None] for side in (half[:, :3], half[:, -3:]))
    difference = np.abs(half - left - along * (right - left)).max(-1)
    threshold = difference.mean()
    for _ in range(4):
        above = difference >= threshold
        threshold = (difference[above].mean() + difference[~above].mean()) / 2
    mask = Image.fromarray((255 * (difference > 0.8 * threshold)).astype(np.uint8))
    mask = mask.filter(ImageFilter.MaxFilter(5)).filter(ImageFilter.MinFilter(5))
    return _resize(np.asarray(mask, np.float32) / 255, canvas.SIZE, canvas.SIZE)


def _shrink(picture, found, amounts, generator):
    """The picture, uint8, smaller and at a random place, with its ground continued around it; and its object's mask.

    The new ground is a blurred continuation of the old one mixed with another. It takes over before the old picture's
    edge, but not over the object.
    """
    width = round(canvas.SIZE * generator.uniform(*amounts.width))
    starts = generator.integers(canvas.SIZE - width, size=2, endpoint=True)
    rows, columns = (np.arange(canvas.SIZE, dtype=np.int16) - int(start) for start in starts)
    spread = np.ix_(*(np.clip(line, 0, width - 1) for line in (rows, columns)))
    small, found = _resize(picture / np.float32(255), width, width)[spread], _resize(found, width, width)[spread]
    from_edge = np.minimum(*np.ix_(*(np.minimum(line, width - 1 - line) for line in (rows, columns))))
    inside = np.clip(from_edge / np.float32(0.15 * width), 0, 1)
    found = found * (from_edge >= 0)
    continued = _resize(_resize(small, 14, 14), canvas.SIZE, canvas.SIZE)
    ground = canvas.table_background(generator)
    brightness = np.average(continued.mean(-1), weights=1.001 - inside) / ground.mean()
    ground = 0.6 * continued + np.float32(0.4 * brightness) * ground
    return canvas.blend(ground, np.maximum(inside * inside * (3 - 2 * inside), found), small), found


def _vivid_color(generator):
    return canvas.color_from_hue(generator.random(), generator.uniform(0.2, 0.9), generator.uniform(0.15, 0.95))


def _add_clutter(picture, found, amounts, generator):
    """Blotches, shapes and strokes behind the object."""
    around = 1 - found
    cells = generator.integers(4, 16)
    blotches = 0.7 * generator.random((cells, cells, 1)) + 0.3 * generator.random((cells, cells, 3))
    blotches = _resize(blotches, canvas.SIZE, canvas.SIZE)
    picture = canvas.blend(picture, amounts.texture * around, blotches)
    for _ in range(amounts.clutter):
        shapes = []
        for x, y in generator.random((3, 2)):
            corners = np.sort(generator.uniform(0, 2 * np.pi, generator.integers(3, 8)))
            radius = generator.uniform(0.04, 0.14)
            shapes.append(radius * np.stack([np.cos(corners), np.sin(corners)], axis=1) + [x, y])
        picture = canvas.blend(picture, 0.85 * around * canvas.polygon_mask(*shapes), _vivid_color(generator))
        strokes = generator.random((2, 1, 2)) + np.cumsum(generator.uniform(-0.2, 0.2, (2, 4, 2)), axis=1)
        mask = canvas.stroke_mask(strokes, generator.uniform(0.01, 0.035))
        picture = canvas.blend(picture, 0.85 * around * mask, _vivid_color(generator))
    return picture


def _add_guest(picture, found, guest, amounts, generator):
    """Adds another family's object, cut out and smaller, where it overlaps the object least, and behind it."""
    mask = _find_object(guest)
    rows, columns = (np.flatnonzero((mask > 0.5).any(axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    largest = generator.uniform(*amounts.guest) * np.sqrt(found.sum())
    height, width = (max(2, round(largest * side / max(mask[box].shape))) for side in mask[box].shape)
    mask, guest = _resize(mask[box], height, width), _resize(guest[box] / np.float32(255), height, width)
    places = generator.integers((canvas.SIZE - height, canvas.SIZE - width), size=(12, 2), endpoint=True)
    places = [(slice(y, y + height), slice(x, x + width)) for y, x in places]
    place = min(places, key=lambda place: found[place].sum())
    picture = picture.copy()
    picture[place] = canvas.blend(picture[place], mask * (1 - found[place]), guest)
    return picture


def _hide_part(picture, found, share, generator):
    """Covers this share of the object with a strip, a box or an oval around a random point of it."""
    rows, columns = np.nonzero(found > 0.5)
    number = generator.integers(len(rows))
    angle = generator.uniform(0, np.pi)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    centres = canvas.pixel_centres()
    u, v = np.moveaxis(np.abs((centres - centres[rows[number], columns[number]]) @ rotation), -1, 0)
    v = v * generator.uniform(0.5, 1)
    kind = ("strip", "box", "oval")[generator.integers(3)]
    distance = u if kind == "strip" else np.maximum(u, v) if kind == "box" else np.sqrt(u * u + v * v)
    # Large enough to cover the share.
    reach = np.quantile(distance[rows, columns], share)
    cover = np.clip((reach - distance) * canvas.SIZE + 0.5, 0, 1).astype(np.float32)
    return canvas.blend(picture, cover, canvas.table_background(generator, saturation=0.8))


def _photograph(picture, amounts, generator):
    """Imitates a camera out of focus, in poor and coloured light, with grey grain."""
    blurred = _to_image(picture).filter(ImageFilter.GaussianBlur(generator.uniform(*amounts.blur)))
    picture = (np.asarray(blurred, np.float32) / 255) ** generator.uniform(*amounts.gamma)
    gains = generator.uniform(*amounts.exposure) * (1 + amounts.cast * generator.uniform(-1, 1, size=3))
    grain = generator.standard_normal((canvas.SIZE, canvas.SIZE, 1), dtype=np.float32)
    return np.clip(picture * gains.astype(np.float32) + amounts.grain * generator.random() * grain, 0, 1)
