"""The family "cars": one car from the side, on a road or in a studio.

Object coordinates: the wheels stand on y = 0.5, the car reaches from about -1 to 1 in x.
"""

import numpy as np

from multimap_jax.scenes import canvas

# lowest and highest red, green and blue
COLORS = {
    "red": ((0.65, 0.02, 0.02), (0.9, 0.12, 0.12)),
    "blue": ((0.03, 0.12, 0.5), (0.15, 0.35, 0.9)),
    "white": ((0.9, 0.9, 0.9), (1.0, 1.0, 1.0)),
    "black": ((0.02, 0.02, 0.03), (0.1, 0.1, 0.12)),
    "yellow": ((0.85, 0.7, 0.02), (1.0, 0.85, 0.15)),
    "green": ((0.03, 0.35, 0.08), (0.15, 0.6, 0.25)),
    "silver": ((0.5, 0.52, 0.55), (0.66, 0.68, 0.7)),
}
# Body, windows and wheels: the body is one outline, from the rear bumper over the roof to the front.
TYPES = {
    "sedan": (
        [(-1.0, 0.35), (-1.0, 0.02), (-0.62, -0.05), (-0.4, -0.36), (0.25, -0.38), (0.5, -0.05), (0.95, 0.06),
         (1.0, 0.35)],
        [
            [(-0.52, -0.06), (-0.36, -0.3), (-0.07, -0.3), (-0.07, -0.06)],
            [(0.0, -0.06), (0.0, -0.3), (0.22, -0.3), (0.4, -0.06)],
        ],
        (-0.6, 0.6),
        0.2,
    ),
    "suv": (
        [(-0.92, 0.4), (-0.95, -0.1), (-0.85, -0.58), (0.28, -0.6), (0.5, -0.15), (0.9, -0.05), (0.95, 0.4)],
        [
            [(-0.82, -0.14), (-0.75, -0.5), (-0.45, -0.5), (-0.45, -0.14)],
            [(-0.36, -0.14), (-0.36, -0.5), (-0.04, -0.5), (-0.04, -0.14)],
            [(0.05, -0.14), (0.05, -0.5), (0.24, -0.5), (0.4, -0.14)],
        ],
        (-0.55, 0.55),
        0.25,
    ),
    "truck": (
        [(-1.1, 0.35), (-1.1, -0.08), (-0.15, -0.08), (-0.12, -0.6), (0.38, -0.6), (0.6, -0.12), (1.05, -0.04),
         (1.08, 0.35)],
        [[(-0.02, -0.14), (-0.02, -0.5), (0.32, -0.5), (0.48, -0.14)]],
        (-0.68, 0.68),
        0.25,
    ),
    "van": (
        [(-1.05, 0.4), (-1.05, -0.68), (0.55, -0.68), (0.85, -0.12), (1.05, 0.0), (1.05, 0.4)],
        [[(0.15, -0.18), (0.15, -0.56), (0.5, -0.56), (0.7, -0.18)]],
        (-0.62, 0.62),
        0.22,
    ),
}  # fmt: skip


def _road(generator):
    """Sky or wall above, road below: float32 [SIZE, SIZE, 3], and the height of the road's edge."""
    height = canvas.pixel_centres()[..., 1]
    edge = generator.uniform(0.45, 0.62)
    above = canvas.color_from_hue(
        generator.uniform(0.5, 0.65), generator.uniform(0.05, 0.35), generator.uniform(0.6, 0.95)
    )
    if generator.random() < 0.4:
        above = np.repeat(np.float32(generator.uniform(0.45, 0.8)), 3)
    below = np.repeat(np.float32(generator.uniform(0.3, 0.6)), 3)
    picture = above * (0.85 + 0.3 * height[..., None])
    return canvas.blend(picture, np.clip((height - edge) * canvas.SIZE, 0, 1), below), edge


def draw(generator, labels):
    """A picture, uint8 [SIZE, SIZE, 3], of a car with these labels: {"color": , "type": }."""
    outline, windows, wheels, radius = TYPES[labels["type"]]
    picture, edge = _road(generator)
    size = generator.uniform(0.32, 0.42)
    x = generator.uniform(1.12 * size, 1 - 1.12 * size)
    place = canvas.Placement(x, edge + generator.uniform(-0.02, 0.15), size, generator.uniform(-0.06, 0.06))
    mirror = np.array([generator.choice([-1.0, 1.0]), 1.0])
    color = generator.uniform(*COLORS[labels["color"]]).astype(np.float32)
    points = lambda shape: place.apply(np.asarray(shape) * mirror)  # noqa: E731
    shadow = canvas.polygon_mask(points(canvas.arc(0, 0.52, 1.1, 0.12, 0, 360)))
    picture = picture * (1 - 0.5 * shadow[..., None])
    body = canvas.polygon_mask(points(outline))
    local = place.invert(canvas.pixel_centres())
    lit = np.clip(color * (1.08 - 0.35 * local[..., 1:]) + 0.1 * np.exp(-(((local[..., 1:] + 0.02) / 0.06) ** 2)), 0, 1)
    picture = canvas.blend(picture, body, lit)
    glass = canvas.polygon_mask(*(points(window) for window in windows))
    picture = canvas.blend(picture, glass, canvas.color_from_hue(0.55, 0.25, generator.uniform(0.3, 0.6)))
    for part, tone in ((radius, 0.06), (0.55 * radius, generator.uniform(0.55, 0.75))):
        rims = canvas.polygon_mask(*(points(canvas.arc(wheel, 0.35, part, part, 0, 360)) for wheel in wheels))
        picture = canvas.blend(picture, rims, (tone, tone, tone))
    return canvas.develop(picture, generator)
