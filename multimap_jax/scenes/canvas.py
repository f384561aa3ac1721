"""Drawing tools that every family of scenes uses: coordinates, soft-edged masks, shading, backgrounds, the camera.

A picture is float32 [SIZE, SIZE, 3] with values in 0…1 until `develop` turns it into uint8. Points are float
[points, 2], (x, y) with y downwards, in picture coordinates from 0 to 1. All functions return new arrays.
"""

import colorsys
import dataclasses

import numpy as np
from PIL import Image, ImageDraw

SIZE = 128
# Masks are drawn this many times larger and averaged down: Pillow's polygons have hard edges.
OVERSAMPLING = 3


@dataclasses.dataclass(frozen=True)
class Placement:
    """The placement of an object: its centre and size in picture coordinates, its rotation in radians."""

    x: float
    y: float
    size: float
    angle: float

    def apply(self, points):
        """Object coordinates [points, 2] to picture coordinates [points, 2]."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        rotation = np.array([[cosine, sine], [-sine, cosine]])
        return np.array([self.x, self.y]) + self.size * (np.asarray(points, float) @ rotation)

    def invert(self, points):
        """Picture coordinates [..., 2] to object coordinates [..., 2]."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        rotation = np.array([[cosine, -sine], [sine, cosine]])
        return (points - np.array([self.x, self.y])) @ rotation / self.size


def pixel_centres():
    """Picture coordinates of every pixel: float32 [SIZE, SIZE, 2]."""
    line = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE
    return np.stack(np.meshgrid(line, line), axis=-1)


def arc(x, y, radius_x, radius_y, start, stop, points=24):
    """Points [points, 2] on an ellipse between two angles in degrees; 0 is right and 90 is down."""
    angles = np.radians(np.linspace(start, stop, points))
    return np.stack([x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)], axis=1)


def _draw_mask(paint):
    mask = Image.new("L", (SIZE * OVERSAMPLING, SIZE * OVERSAMPLING))
    paint(ImageDraw.Draw(mask))
    return np.asarray(mask.reduce(OVERSAMPLING), np.float32) / 255


def _pixels(points):
    return [tuple(point) for point in (np.asarray(points) * (SIZE * OVERSAMPLING)).tolist()]


def polygon_mask(*polygons):
    """The union of filled polygons: float32 [SIZE, SIZE], 1 inside, soft at the edge."""

    def paint(draw):
        for polygon in polygons:
            draw.polygon(_pixels(polygon), fill=255)

    return _draw_mask(paint)


def stroke_mask(strokes, width):
    """Thick lines with round ends: float32 [SIZE, SIZE]; `width` is in picture coordinates."""
    width = width * SIZE * OVERSAMPLING

    def paint(draw):
        for stroke in strokes:
            points = _pixels(stroke)
            draw.line(points, fill=255, width=round(width), joint="curve")
            for x, y in (points[0], points[-1]):
                draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)

    return _draw_mask(paint)


def blend(picture, mask, color):
    """Lay a colour, [3] or [SIZE, SIZE, 3], over the picture where the mask [SIZE, SIZE] is set."""
    return picture + mask[..., None] * (np.asarray(color, np.float32) - picture)


def shade(color, local, light, depth=0.35):
    """A colour [3] lit like a ball: brighter towards the light, with a highlight; local [h, w, 2] -> [h, w, 3]."""
    direction = np.array([np.cos(light), np.sin(light)], np.float32)
    slope = np.clip(local @ direction, -1.2, 1.2)
    gloss = np.exp(-np.sum((local - 0.5 * direction) ** 2, axis=-1) / 0.05)
    lit = np.asarray(color, np.float32) * (1 - 0.15 * depth + depth * slope)[..., None]
    return np.clip(lit + 0.45 * gloss[..., None], 0, 1)


def drop_shadow(picture, mask, light, strength, distance=0.03):
    """Darken what lies behind an object, away from the light."""
    shift = -np.round(distance * SIZE * np.array([np.sin(light), np.cos(light)])).astype(int)
    small = Image.fromarray((255 * mask).astype(np.uint8)).resize((SIZE // 8, SIZE // 8), Image.Resampling.BOX)
    soft = np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.float32) / 255
    return picture * (1 - strength * np.roll(soft, tuple(shift), axis=(0, 1))[..., None])


def color_from_hue(hue, saturation, value):
    """RGB [3] from hue, saturation and value; the hue wraps around."""
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value), np.float32)


def table_background(generator, saturation=0.25):
    """A muted surface with a gradient and, at times, stripes or a wall behind it: float32 [SIZE, SIZE, 3]."""
    centres = pixel_centres()
    first, second = (
        color_from_hue(generator.random(), generator.uniform(0, saturation), generator.uniform(0.35, 0.95))
        for _ in range(2)
    )
    angle = generator.uniform(0, 2 * np.pi)
    along = (centres - 0.5) @ np.array([np.cos(angle), np.sin(angle)], np.float32)
    amount = 0.5 + 0.5 * along
    if generator.random() < 0.3:
        amount = amount + 0.12 * np.sign(np.sin(along * generator.uniform(20, 60)))
    if generator.random() < 0.3:
        amount = amount + 0.35 * (centres[..., 1] < generator.uniform(0.25, 0.6))
    return first + np.clip(amount, 0, 1)[..., None] * (second - first)


def develop(picture, generator):
    """The camera: exposure, a tint, uneven light and grain; float [SIZE, SIZE, 3] -> uint8 [SIZE, SIZE, 3]."""
    angle = generator.uniform(0, 2 * np.pi)
    along = (pixel_centres() - 0.5) @ np.array([np.cos(angle), np.sin(angle)], np.float32)
    light = generator.uniform(0.85, 1.12) * (1 + generator.uniform(0, 0.35) * along)
    tint = generator.uniform(0.96, 1.04, size=3)
    grain = generator.uniform(0.004, 0.03) * generator.standard_normal((SIZE, SIZE, 1), dtype=np.float32)
    return np.round(255 * np.clip(picture * light[..., None] * tint + grain, 0, 1)).astype(np.uint8)
