"""The family "fruit": one fruit on a table, with a color that is independent of its species.

Object coordinates: a fruit fills about the circle of radius 1 around (0, 0), its stem upwards (negative y).
"""

import numpy as np

from multimap_jax.scenes import canvas

# hue, its spread, lowest and highest saturation, lowest and highest value
COLORS = {
    "red": (0.99, 0.018, 0.8, 1.0, 0.65, 0.95),
    "green": (0.31, 0.045, 0.65, 1.0, 0.4, 0.8),
    "yellow": (0.15, 0.013, 0.75, 1.0, 0.85, 1.0),
    "orange": (0.075, 0.012, 0.85, 1.0, 0.85, 1.0),
    "purple": (0.78, 0.025, 0.55, 0.9, 0.35, 0.7),
    "blue": (0.62, 0.03, 0.65, 1.0, 0.45, 0.85),
    "burgundy": (0.955, 0.012, 0.75, 0.95, 0.26, 0.42),
}
BROWN = (0.35, 0.22, 0.1)
LEAF = (0.22, 0.42, 0.14)


def fruit_color(generator, name):
    """A shade of the named colour, [3]."""
    hue, spread, *ranges = COLORS[name]
    saturation = generator.uniform(*ranges[:2])
    value = generator.uniform(*ranges[2:])
    return canvas.color_from_hue(hue + generator.uniform(-spread, spread), saturation, value)


def _dented_circle(dent_above, dent_below, width):
    """An apple's outline [points, 2]: a circle pressed in at the top and the bottom."""
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    from_top = np.abs((angles - 1.5 * np.pi + np.pi) % (2 * np.pi) - np.pi)
    from_bottom = np.pi - from_top
    radius = 1 - dent_above * np.exp(-((from_top / 0.38) ** 2)) - dent_below * np.exp(-((from_bottom / 0.32) ** 2))
    return np.stack([width * radius * np.cos(angles), radius * np.sin(angles)], axis=1)


def _leaf(x, y, length, angle):
    """A pointed leaf's outline [points, 2] growing from (x, y)."""
    along = np.linspace(0, 1, 12)
    side = 0.22 * np.sin(np.pi * along)
    outline = np.concatenate([np.stack([along, side], 1), np.stack([along, -side], 1)[::-1]]) * length
    return canvas.Placement(x, y, 1.0, angle).apply(outline)


def _ball(picture, place, x, y, radius, color, light):
    """A shaded ball at (x, y) of the fruit's own coordinates."""
    centre_x, centre_y = place.apply([[x, y]])[0]
    ball = canvas.Placement(centre_x, centre_y, place.size * radius, 0.0)
    # Only the square around the ball is computed: a bunch has seventeen of them.
    low, high = (np.array([[-1.2], [1.2]]) * ball.size + place.apply([[x, y]])) * canvas.SIZE
    rows, columns = (slice(max(0, int(low[axis])), max(0, int(high[axis]) + 1)) for axis in (1, 0))
    local = ball.invert(canvas.pixel_centres()[rows, columns])
    distance = np.sqrt(np.sum(local**2, axis=-1))
    mask = np.clip((1 - distance) * ball.size * canvas.SIZE + 0.5, 0, 1)
    shaded = canvas.shade(color, local, light, depth=0.4) * (1 - 0.35 * np.clip(distance, 0, 1) ** 4)[..., None]
    picture = picture.copy()
    picture[rows, columns] = canvas.blend(picture[rows, columns], mask, shaded)
    return picture


def _body(picture, place, outlines, color, light, depth=0.35):
    """Outlines filled with the fruit's colour, with a shadow behind them."""
    mask = canvas.polygon_mask(*(place.apply(outline) for outline in outlines))
    picture = canvas.drop_shadow(picture, mask, light, 0.5)
    # Light comes from one direction of the picture, however the fruit is turned.
    upright = canvas.Placement(place.x, place.y, place.size, 0.0).invert(canvas.pixel_centres())
    return canvas.blend(picture, mask, canvas.shade(color, upright, light, depth))


def _stem(picture, place, points, width=0.09):
    return canvas.blend(picture, canvas.stroke_mask([place.apply(points)], width * place.size), BROWN)


def _leaves(picture, place, *leaves):
    return canvas.blend(picture, canvas.polygon_mask(*(place.apply(leaf) for leaf in leaves)), LEAF)


def _apple(picture, place, color, light, generator):
    outline = _dented_circle(generator.uniform(0.18, 0.3), generator.uniform(0.06, 0.14), generator.uniform(0.97, 1.1))
    picture = _body(picture, place, [outline], color, light)
    picture = _stem(picture, place, [(0.0, -0.68), (0.04, -0.95), (0.16, -1.15)])
    if generator.random() < 0.5:
        picture = _leaves(picture, place, _leaf(0.05, -0.9, 0.5, generator.uniform(-0.9, -0.1)))
    return picture


def _banana(picture, place, color, light, generator):
    reach = generator.uniform(55, 68)
    middle = canvas.arc(0.0, -0.75, 1.25, 1.25, 90 - reach, 90 + reach, 40)
    outward = (middle - [0.0, -0.75]) / 1.25
    along = np.linspace(0, 1, 40)
    width = (generator.uniform(0.28, 0.36) * np.sin(np.pi * along) ** 0.6 + 0.07)[:, None]
    outline = np.concatenate([middle + width * outward, (middle - width * outward)[::-1]])
    picture = _body(picture, place, [outline], color, light, depth=0.25)
    ridge = canvas.stroke_mask([place.apply((middle + 0.25 * width * outward)[5:-5])], 0.04 * place.size)
    picture = canvas.blend(picture, 0.6 * ridge, 0.75 * color)
    for tip, before in ((middle[0], middle[2]), (middle[-1], middle[-3])):
        picture = _stem(picture, place, [before, tip + 0.7 * (tip - before)], width=0.13)
    return picture


def _grape(picture, place, color, light, generator):
    picture = _stem(picture, place, [(0.0, -0.6), (0.02, -0.95), (0.15, -1.2)])
    rows = ((4, -0.55), (3, -0.15), (4, -0.3), (3, 0.1), (2, 0.4), (1, 0.78))
    shadow = canvas.polygon_mask(place.apply([(-0.9, -0.7), (0.9, -0.7), (0.15, 1.0), (-0.15, 1.0)]))
    picture = canvas.drop_shadow(picture, shadow, light, 0.45)
    for count, y in rows:
        for position in range(count):
            x = 0.5 * (position - (count - 1) / 2) + generator.uniform(-0.06, 0.06)
            tone = np.clip(color * generator.uniform(0.85, 1.1), 0, 1)
            picture = _ball(picture, place, x, y + generator.uniform(-0.05, 0.05), 0.29, tone, light)
    if generator.random() < 0.6:
        picture = _leaves(picture, place, _leaf(0.0, -0.85, 0.6, generator.uniform(2.6, 3.6)))
    return picture


def _pear(picture, place, color, light, generator):
    height = np.linspace(-1, 1, 40)
    neck = generator.uniform(0.34, 0.42)
    width = np.sqrt(np.clip(1 - height**2, 0, 1)) * (neck + (0.95 - neck) / (1 + np.exp(-7 * (height - 0.05))))
    outline = np.concatenate([np.stack([width, height], 1), np.stack([-width, height], 1)[::-1]])
    picture = _body(picture, place, [outline], color, light)
    return _stem(picture, place, [(0.0, -0.95), (0.05, -1.15), (0.15, -1.3)])


def _cherry(picture, place, color, light, generator):
    top = (generator.uniform(-0.1, 0.3), -1.1)
    centres = ((-0.5, 0.45), (0.5, generator.uniform(0.45, 0.65)))
    for x, y in centres:
        picture = _stem(picture, place, [(x, y - 0.3), (0.6 * x + 0.2 * top[0], -0.4), top], width=0.06)
    for x, y in centres:
        picture = _ball(picture, place, x, y, generator.uniform(0.42, 0.48), color, light)
    return _leaves(picture, place, _leaf(*top, 0.6, generator.uniform(-0.2, 0.6)))


def _strawberry(picture, place, color, light, generator):
    height = np.linspace(-0.75, 1.0, 40)
    part = (height + 0.75) / 1.75
    width = generator.uniform(1.35, 1.55) * part**0.35 * (1 - part) ** 0.6
    outline = np.concatenate([np.stack([width, height], 1), np.stack([-width, height], 1)[::-1]])
    picture = _body(picture, place, [outline], color, light)
    seeds = [
        (x + 0.13 * (row % 2), y) for row, y in enumerate((-0.4, -0.1, 0.2, 0.5)) for x in (-0.45, -0.15, 0.15, 0.4)
    ]
    seeds = [(x, y) for x, y in seeds if abs(x) < 0.75 - 0.5 * (y + 0.4)]
    dots = [place.apply([(x, y), (x, y + 0.06)]) for x, y in seeds]
    picture = canvas.blend(picture, canvas.stroke_mask(dots, 0.07 * place.size), np.clip(0.4 * color + 0.55, 0, 1))
    return _leaves(picture, place, *(_leaf(0.0, -0.8, 0.6, angle) for angle in (0.1, 0.8, 1.6, 2.4, 3.1)))


SPECIES = {
    "apple": _apple,
    "banana": _banana,
    "grape": _grape,
    "pear": _pear,
    "cherry": _cherry,
    "strawberry": _strawberry,
}


def draw(generator, labels):
    """A picture, uint8 [SIZE, SIZE, 3], of a fruit with these labels: {"color": , "species": }."""
    picture = canvas.table_background(generator)
    size = generator.uniform(0.24, 0.36)
    x, y = generator.uniform(1.15 * size, 1 - 1.15 * size, size=2)
    place = canvas.Placement(x, y, size, generator.uniform(-0.7, 0.7))
    light = generator.uniform(-2.6, -0.5)
    color = fruit_color(generator, labels["color"])
    picture = SPECIES[labels["species"]](picture, place, color, light, generator)
    return canvas.develop(picture, generator)
