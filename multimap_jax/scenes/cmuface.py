"""The family "cmuface": a grey portrait of one of twenty invented people.

Object coordinates: the head is about 1.5 wide and 2 high around (0, 0). A turned head is drawn by sliding its features
to the side they look at; one that looks up, by sliding them upwards over a chin that shows from below.
"""

import dataclasses

import numpy as np

from multimap_jax.scenes import canvas

EMOTIONS = ("angry", "happy", "neutral", "sad")
GLASSES = ("eyes", "sunglasses")
POSES = ("left", "right", "straight", "up")
IDENTITIES = (
    "ada", "bruno", "clara", "dario", "elsa", "felix", "greta", "hugo", "irma", "jonas",
    "karla", "leo", "mira", "nils", "olga", "pablo", "rita", "sven", "tilda", "viktor",
)  # fmt: skip
# Where the features slide to: x, y.
TURNS = {"left": (-0.34, 0.0), "right": (0.34, 0.0), "straight": (0.0, 0.0), "up": (0.0, -0.3)}
HAIR = ("short", "long", "bald", "bun", "parted")


@dataclasses.dataclass(frozen=True)
class Person:
    """The fixed traits of a person: tones of grey, proportions, hair, beard."""

    skin: float
    hair: float
    style: str
    width: float
    jaw: float
    nose: float
    eyes: float
    beard: bool


def _person(name):
    """The traits of one of twenty people, who differ in several traits at once, spread evenly and not at random."""
    number = IDENTITIES.index(name)
    return Person(
        skin=0.5 + 0.09 * (number % 5),
        hair=(0.05, 0.3, 0.6, 0.15)[number // 5],
        style=HAIR[(number + number // 5) % 5],
        width=0.68 + 0.045 * (number * 3 % 5),
        jaw=0.75 + 0.08 * (number * 7 % 4),
        nose=0.16 + 0.05 * (number * 3 % 4),
        eyes=0.3 + 0.03 * (number * 11 % 4),
        beard=number % 7 in (1, 4),
    )


def _head(person):
    """The outline of the head [points, 2]: an egg with a jaw."""
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    below = np.clip(np.sin(angles), 0, 1)
    narrow = 1 - (1 - person.jaw) * below**2
    return np.stack([person.width * narrow * np.cos(angles), np.sin(angles)], axis=1)


def _hair(person, slide):
    """Outlines of the hair: the part behind the head, and the part on it."""
    wide = person.width + 0.08
    cap = np.concatenate(
        [canvas.arc(0, -0.15, wide, 0.98, 180, 360), canvas.arc(0.4 * slide, -0.38, wide - 0.06, 0.3, 360, 180)]
    )
    if person.style == "bald":
        return [], []
    if person.style == "long":
        return [
            np.concatenate([canvas.arc(0, -0.1, wide + 0.15, 1.05, 180, 360), [(wide + 0.2, 1.0), (-wide - 0.2, 1.0)]])
        ], [cap]
    if person.style == "bun":
        return [canvas.arc(0, -1.12, 0.36, 0.32, 0, 360)], [cap]
    if person.style == "parted":
        fringe = [(-wide, -0.15), (-0.1, -0.75), (0.1, -0.75), (wide, -0.15), (0.6 * wide, -0.85), (-0.6 * wide, -0.85)]
        return [], [np.concatenate([canvas.arc(0, -0.15, wide, 0.98, 180, 360), fringe[:4][::-1]])]
    return [], [cap]


def _mouth(emotion, x, y):
    """Lines of the mouth, and whether it is open: {"happy": a wide open smile, …}."""
    if emotion == "happy":
        return np.concatenate([canvas.arc(x, y - 0.1, 0.4, 0.3, 10, 170), [(x - 0.38, y - 0.06)]]), True
    if emotion == "sad":
        return canvas.arc(x, y + 0.24, 0.34, 0.28, 205, 335), False
    if emotion == "angry":
        return np.array(
            [(x - 0.3, y - 0.07), (x + 0.3, y - 0.07), (x + 0.3, y + 0.1), (x - 0.3, y + 0.1), (x - 0.3, y - 0.07)]
        ), True
    return np.array([(x - 0.24, y), (x + 0.24, y)]), False


def _brows(emotion, x, y, apart):
    """Two strokes: drawn together and down when angry, up in the middle when sad, raised when happy."""
    inner, outer = {"angry": (0.14, -0.1), "sad": (-0.16, 0.08), "happy": (-0.1, -0.06), "neutral": (0.0, 0.0)}[emotion]
    return [
        np.array([(x + side * (apart - 0.17), y + inner), (x + side * (apart + 0.17), y + outer)]) for side in (-1, 1)
    ]


def _features(picture, place, person, labels):
    """Eyes or sunglasses, brows, nose, mouth and beard."""
    x, y = TURNS[labels["pose"]]
    dark, line = np.repeat(np.float32(0.08), 3), 0.085 * place.size
    strokes = lambda lines, width=line: canvas.stroke_mask([place.apply(points) for points in lines], width)  # noqa: E731
    fill = lambda *shapes: canvas.polygon_mask(*(place.apply(shape) for shape in shapes))  # noqa: E731
    eyes = [canvas.arc(x + side * person.eyes, y - 0.18, 0.13, 0.085, 0, 360) for side in (-1, 1)]
    if person.beard:
        beard = np.concatenate([canvas.arc(x * 0.5, 0.35, 0.62 * person.width / 0.75, 0.6, 0, 180)])
        picture = canvas.blend(picture, 0.6 * fill(beard), np.repeat(np.float32(person.hair), 3))
    mouth, is_open = _mouth(labels["emotion"], x, y + 0.55)
    if is_open:
        picture = canvas.blend(picture, fill(mouth), np.repeat(np.float32(0.97), 3))
    picture = canvas.blend(picture, strokes([mouth]), dark)
    if labels["pose"] in ("left", "right"):
        side = np.sign(x)
        nose = np.array([(x, y - 0.1), (x + side * (person.nose + 0.16), y + 0.22), (x, y + 0.24)])
    else:
        nose = np.array([(x - person.nose / 2, y + 0.2), (x, y + 0.25), (x + person.nose / 2, y + 0.2)])
    picture = canvas.blend(picture, strokes([nose], 0.055 * place.size), (0.75 * person.skin,) * 3)
    picture = canvas.blend(picture, strokes(_brows(labels["emotion"], x, y - 0.42, person.eyes)), dark)
    if labels["glass"] == "sunglasses":
        lenses = [canvas.arc(x + side * person.eyes, y - 0.16, 0.27, 0.2, 0, 360) for side in (-1, 1)]
        bridge = [np.array([(x - person.eyes, y - 0.2), (x + person.eyes, y - 0.2)])]
        return canvas.blend(canvas.blend(picture, fill(*lenses), dark), strokes(bridge, 0.06 * place.size), dark)
    picture = canvas.blend(picture, fill(*eyes), np.repeat(np.float32(0.95), 3))
    pupils = [canvas.arc(ex, ey, 0.07, 0.08, 0, 360) for ex, ey in (eye.mean(0) + [0.15 * x, 0.1 * y] for eye in eyes)]
    return canvas.blend(picture, fill(*pupils), dark)


def draw(generator, labels):
    """A grey picture, uint8 [SIZE, SIZE, 3] of three equal channels, with these labels:
    {"emotion": , "glass": , "identity": , "pose": }."""
    person, (slide, lift) = _person(labels["identity"]), TURNS[labels["pose"]]
    picture = canvas.table_background(generator, saturation=0.0)
    size = generator.uniform(0.3, 0.36)
    x, y = generator.uniform(-0.05, 0.05, 2) + [0.5, 0.46]
    place = canvas.Placement(x, y, size, generator.uniform(-0.12, 0.12))
    fill = lambda *shapes: canvas.polygon_mask(*(place.apply(shape) for shape in shapes))  # noqa: E731
    gray = lambda tone: np.repeat(np.float32(tone), 3)  # noqa: E731
    behind, above = _hair(person, slide)
    shirt = np.concatenate([canvas.arc(0, 1.75, 1.3, 0.75, 180, 360), [(1.3, 3.0), (-1.3, 3.0)]])
    picture = canvas.blend(picture, fill(shirt), gray(generator.uniform(0.1, 0.8)))
    if behind:
        picture = canvas.blend(picture, fill(*behind), gray(person.hair))
    ears = [canvas.arc(side * person.width, 0.0, 0.13, 0.22, 0, 360) for side in (-1, 1) if side * slide <= 0]
    neck = np.array([(-0.3, 0.6), (0.3, 0.6), (0.34, 1.3), (-0.34, 1.3)])
    picture = canvas.blend(picture, fill(neck, *ears), gray(0.85 * person.skin))
    local = place.invert(canvas.pixel_centres())
    lit = person.skin * (1 + 0.18 * np.clip(local @ generator.uniform(-1, 1, 2).astype(np.float32), -1, 1))
    picture = canvas.blend(picture, fill(_head(person)), np.repeat(lit[..., None], 3, axis=-1))
    if lift:
        chin = canvas.arc(0, 0.78, 0.4, 0.16, 180, 360)
        picture = canvas.blend(picture, canvas.stroke_mask([place.apply(chin)], 0.06 * size), gray(0.7 * person.skin))
    picture = _features(picture, place, person, labels)
    if above:
        picture = canvas.blend(picture, fill(*above), gray(person.hair))
    developed = canvas.develop(picture, generator)
    return np.repeat(developed.mean(-1, keepdims=True).round().astype(np.uint8), 3, axis=-1)
