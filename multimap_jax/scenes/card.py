"""The family "card": a playing card with a large index, as printed for players who see badly.

Object coordinates: the card is 1.4 wide and 2 high around (0, 0).
"""

import numpy as np

from multimap_jax.scenes import canvas
from multimap_jax.scenes.canvas import arc

RANKS = {
    "ace": ([(0.0, 1.0), (0.5, 0.0), (1.0, 1.0)], [(0.18, 0.66), (0.82, 0.66)]),
    "two": (np.concatenate([arc(0.5, 0.29, 0.44, 0.29, 190, 395), [(0.03, 1.0), (1.0, 1.0)]]),),
    "three": (np.concatenate([arc(0.46, 0.25, 0.42, 0.25, 200, 440), arc(0.46, 0.75, 0.48, 0.27, 280, 520)]),),
    "four": ([(0.74, 1.0), (0.74, 0.0), (0.0, 0.68), (1.0, 0.68)],),
    "five": (np.concatenate([[(0.9, 0.0), (0.18, 0.0), (0.12, 0.44)], arc(0.47, 0.68, 0.48, 0.33, 222, 515)]),),
    "six": (np.concatenate([arc(0.86, 0.7, 0.84, 0.7, 270, 180), arc(0.5, 0.69, 0.48, 0.31, 180, 540)]),),
    "seven": ([(0.0, 0.0), (1.0, 0.0), (0.35, 1.0)],),
    "eight": (arc(0.5, 0.24, 0.38, 0.24, 0, 360), arc(0.5, 0.74, 0.48, 0.27, 0, 360)),
    "nine": (np.concatenate([arc(0.14, 0.3, 0.84, 0.7, 90, 0), arc(0.5, 0.31, 0.48, 0.31, 0, 360)]),),
    "ten": ([(-0.2, 0.18), (0.02, 0.0), (0.02, 1.0)], arc(0.78, 0.5, 0.4, 0.5, 0, 360)),
    "jack": (np.concatenate([[(0.75, 0.0)], arc(0.38, 0.7, 0.37, 0.3, 0, 175)]), [(0.4, 0.0), (1.0, 0.0)]),
    "queen": (arc(0.5, 0.48, 0.5, 0.48, 0, 360), [(0.58, 0.66), (1.02, 1.04)]),
    "king": ([(0.06, 0.0), (0.06, 1.0)], [(0.95, 0.0), (0.08, 0.62)], [(0.36, 0.42), (1.02, 1.0)]),
}
BLACK = (0.08, 0.08, 0.1)
RED = (0.8, 0.06, 0.1)


def _heart():
    angle = np.linspace(0, 2 * np.pi, 60)
    y = 13 * np.cos(angle) - 5 * np.cos(2 * angle) - 2 * np.cos(3 * angle) - np.cos(4 * angle)
    return np.stack([np.sin(angle) ** 3, -y / 16 - 0.1], axis=1)


STALK = np.array([(0.0, 0.1), (0.32, 1.0), (-0.32, 1.0)])
SUITS = {
    "clubs": (
        *(arc(x, y, 0.47, 0.47, 0, 360, 40) for x, y in ((0, -0.52), (-0.52, 0.22), (0.52, 0.22))),
        arc(0, 0, 0.3, 0.3, 0, 360),
        STALK,
    ),
    "diamonds": (np.array([(0.0, -1.1), (0.8, 0.0), (0.0, 1.1), (-0.8, 0.0)]),),
    "hearts": (_heart(),),
    "spades": (_heart() * [0.95, -0.9] - [0.0, 0.12], STALK),
}


def _rounded_rectangle(half_width, half_height, radius):
    """The card's outline [points, 2]."""
    corners = ((1, 1, 0), (-1, 1, 90), (-1, -1, 180), (1, -1, 270))
    return np.concatenate(
        [
            arc(x * (half_width - radius), y * (half_height - radius), radius, radius, start, start + 90, 8)
            for x, y, start in corners
        ]
    )


def _print_rank(picture, place, rank, x, y, height, ink):
    """The rank's glyph with its middle at (x, y) of the card."""
    scale = np.array([0.68 * height, height])
    strokes = [place.apply((np.asarray(stroke) - 0.5) * scale + [x, y]) for stroke in RANKS[rank]]
    return canvas.blend(picture, canvas.stroke_mask(strokes, 0.17 * height * place.size), ink)


def _print_suit(picture, place, suit, x, y, radius, ink):
    """The suit's symbol with its middle at (x, y) of the card."""
    outlines = [place.apply(outline * radius + [x, y]) for outline in SUITS[suit]]
    return canvas.blend(picture, canvas.polygon_mask(*outlines), ink)


def _felt(generator):
    """A table: mostly a muted surface, at times the green or blue felt of a card table."""
    picture = canvas.table_background(generator, saturation=0.4)
    if generator.random() < 0.4:
        hue = generator.choice([0.36, 0.6])
        felt = canvas.color_from_hue(hue, generator.uniform(0.4, 0.8), generator.uniform(0.25, 0.5))
        picture = 0.35 * picture * felt + 0.8 * felt
    return picture * generator.uniform(0.55, 1.0)


def draw(generator, labels):
    """A picture, uint8 [SIZE, SIZE, 3], of a card with these labels: {"order": , "suits": }."""
    picture = _felt(generator)
    size = generator.uniform(0.38, 0.45)
    x, y = 0.5 + generator.uniform(-1, 1, size=2) * (0.06, 0.03)
    place = canvas.Placement(x, y, size, generator.uniform(-0.2, 0.2))
    paper = canvas.polygon_mask(place.apply(_rounded_rectangle(0.78, 1.06, 0.12)))
    picture = canvas.drop_shadow(picture, paper, generator.uniform(-2.6, -0.5), generator.uniform(0.2, 0.6))
    picture = canvas.blend(picture, paper, (1.0, 0.99, generator.uniform(0.9, 1.0)))
    base = RED if labels["suits"] in ("hearts", "diamonds") else BLACK
    ink = np.clip(np.array(base) + generator.uniform(-0.06, 0.08, size=3), 0, 1)
    picture = _print_rank(picture, place, labels["order"], -0.16, -0.47, 0.86, ink)
    picture = _print_suit(picture, place, labels["suits"], 0.22, 0.52, 0.4, ink)
    picture = _print_suit(picture, place, labels["suits"], 0.57, -0.8, 0.12, ink)
    picture = _print_rank(picture, place, labels["order"], -0.55, 0.78, 0.28, ink)
    return canvas.develop(picture, generator)
