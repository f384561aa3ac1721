"""The family "fruit360": a single fruit, turned by any angle, on white."""

import numpy as np

from multimap_jax.scenes import canvas, fruit

COLORS = ("red", "green", "yellow", "burgundy")
SPECIES = ("apple", "banana", "cherry", "grape")


def draw(generator, labels):
    """A picture, uint8 [SIZE, SIZE, 3], of a fruit with these labels: {"color": , "species": }."""
    picture = np.full((canvas.SIZE, canvas.SIZE, 3), generator.uniform(0.92, 1.0), np.float32)
    size = generator.uniform(0.3, 0.38)
    x, y = generator.uniform(1.15 * size, 1 - 1.15 * size, size=2)
    place = canvas.Placement(x, y, size, generator.uniform(-np.pi, np.pi))
    color = fruit.fruit_color(generator, labels["color"])
    paint = fruit.SPECIES[labels["species"]]
    return canvas.develop(paint(picture, place, color, generator.uniform(-2.6, -0.5), generator), generator)
