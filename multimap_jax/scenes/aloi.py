"""The family "aloi": one object on a dark ground under a lamp, as in the Amsterdam library of object images."""

import numpy as np

from multimap_jax.scenes import canvas, fruit

COLORS = ("red", "green")
MORE_COLORS = ("yellow", "blue")
MORE_SHAPES = ("cone", "cube")


def _round_shade(color, place, light):
    """Lit as something that is round about its upright axis: [SIZE, SIZE, 3]."""
    local = place.invert(canvas.pixel_centres()) * np.array([1.0, 0.25], np.float32)
    return canvas.shade(color, local, light, depth=0.5)


def _ball(picture, place, color, light, generator):
    mask = canvas.polygon_mask(place.apply(canvas.arc(0, 0, 1, 1, 0, 360, 64)))
    return canvas.blend(picture, mask, canvas.shade(color, place.invert(canvas.pixel_centres()), light, depth=0.5))


def _cylinder(picture, place, color, light, generator):
    wide, high = generator.uniform(0.5, 0.7), generator.uniform(0.85, 1.1)
    tilt = wide * generator.uniform(0.25, 0.45)
    side = np.concatenate([canvas.arc(0, -high, wide, tilt, 180, 360), canvas.arc(0, high, wide, tilt, 0, 180)])
    picture = canvas.blend(picture, canvas.polygon_mask(place.apply(side)), _round_shade(color, place, light))
    lid = canvas.polygon_mask(place.apply(canvas.arc(0, -high, wide, tilt, 0, 360, 48)))
    return canvas.blend(picture, lid, np.clip(1.15 * color + 0.08, 0, 1))


def _cone(picture, place, color, light, generator):
    wide, tilt = generator.uniform(0.7, 0.9), generator.uniform(0.18, 0.3)
    outline = np.concatenate([[(0.0, -1.1)], canvas.arc(0, 0.8, wide, tilt, 0, 180)])
    return canvas.blend(picture, canvas.polygon_mask(place.apply(outline)), _round_shade(color, place, light))


def _cube(picture, place, color, light, generator):
    turn, lift = generator.uniform(0.3, 0.7), generator.uniform(0.3, 0.5)
    left, right, top = np.array([-0.9, -lift * 0.5]), np.array([turn + 0.2, -lift * 0.7]), np.array([0.0, -1.1])
    front = np.array([0.0, 0.9])
    faces = ((left, top, 0.65), (right, top, 0.95), (left, right, 1.25))
    for first, second, brightness in faces:
        base = front if second is top else front + top
        mask = canvas.polygon_mask(place.apply([base, base + first, base + first + second, base + second]))
        picture = canvas.blend(picture, mask, np.clip(brightness * color, 0, 1))
    return picture


SHAPES = {"ball": _ball, "cylinder": _cylinder, "cone": _cone, "cube": _cube}


def _dark_ground(generator):
    """Nearly black, a little lighter where the object stands: float32 [SIZE, SIZE, 3]."""
    height = canvas.pixel_centres()[..., 1]
    tone = generator.uniform(0.02, 0.1) + generator.uniform(0.03, 0.14) * (height > generator.uniform(0.55, 0.7))
    return tone[..., None] * canvas.color_from_hue(generator.random(), generator.uniform(0, 0.3), 1.0)


def draw(generator, labels):
    """A picture, uint8 [SIZE, SIZE, 3], of an object with these labels: {"color": , "shape": }."""
    size = generator.uniform(0.2, 0.3)
    x, y = generator.uniform(1.25 * size, 1 - 1.25 * size, size=2)
    place = canvas.Placement(x, y, size, generator.uniform(-0.35, 0.35))
    color = fruit.fruit_color(generator, labels["color"])
    shape = SHAPES[labels["shape"]]
    return canvas.develop(
        shape(_dark_ground(generator), place, color, generator.uniform(-2.8, -0.3), generator), generator
    )
