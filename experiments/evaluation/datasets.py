"""The paper's data sets: aspects and words, where the files must lie, and the drawn twins that stand in for them.

`load` reads a real set, `twin` draws one, `load_or_draw` does the one or the other.
Sizes, labels and word lists: the paper and its released program; where the latter has no usable list ("card") or none
was published ("aloi", "cars", "flowers"), the candidate words are ours.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from multimap_jax.sources.formats import suffixes

# Of the drawn sets in all tables: what `difficulty` finds by its rule. HALVES: of a set that has them, see `load`.
DIFFICULTY = 2
HALVES = ("choose", "report")
RANKS = ("ace", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "jack", "queen", "king")
SUITS = ("clubs", "diamonds", "hearts", "spades")
FRUITS = (
    "apples oranges bananas strawberries grapes raspberries blueberries cherries pears plums peaches nectarines "
    "pineapple kiwi watermelon cantaloupe apricots"
).split()
COLORS = ("red", "yellow", "green", "orange", "purple", "blue")
EMOTIONS = ("happiness", "sadness", "anger", "surprise", "fear", "disgust", "contempt")
POSES = (
    "smiling", "frowning", "neutral expression", "laughing", "raised eyebrows", "squinting", "pouting", "wide-eyed",
    "nodding", "tilting head",
)  # fmt: skip
PRODUCT_COLORS = ("black", "blue", "brown", "green", "grey", "pink", "red", "white")
PRODUCTS = (
    "casual shoes", "handbags", "heels", "kurtas", "shirts", "sports shoes", "sunglasses", "tops", "tshirts", "watches",
)  # fmt: skip
# Of the catalogue's other products, which no image of the set shows.
MORE_PRODUCTS = {
    "color": ("navy blue", "purple", "silver", "yellow", "beige", "gold", "maroon", "orange"),
    "type": (
        "flip flops", "sandals", "wallets", "backpacks", "jeans", "dresses", "belts", "caps", "formal shoes", "sarees",
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class AspectFacts:
    """`labels`: the true names, () where none were published. `words`: candidates that know nothing of the labels."""

    clusters: int
    labels: tuple[str, ...]
    words: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Labelled:
    """`images`: paths or uint8 arrays. `labels`: aspect -> true labels [images]. `note`: what is unexpected, or ""."""

    images: list
    labels: dict[str, np.ndarray]
    note: str = ""


@dataclasses.dataclass(frozen=True)
class DataSet:
    """`folders`: where `read` looks below --data, first match wins. `size`: the paper's number of images."""

    name: str
    title: str
    subject: str
    size: int
    aspects: dict[str, AspectFacts]
    folders: tuple[str, ...]
    read: Callable[[Path], tuple[list[Path], list[dict[str, str]]]]
    layout: str


def read_aspect_folders(folder: Path):
    """ASPECT/LABEL/FILE, the same file names under every aspect, as the released program has them."""
    labels: dict[str, dict[str, str]] = {}
    paths: dict[str, Path] = {}
    for path in sorted(folder.glob("*/*/*")):
        if path.suffix.lower() in suffixes():
            labels.setdefault(path.name, {})[path.parts[-3]] = path.parts[-2]
            paths.setdefault(path.name, path)
    return [paths[name] for name in paths], [labels[name] for name in paths]


def read_card_folders(folder: Path):
    """ "ace of clubs"/FILE, at any depth (train, test, valid); jokers are left out."""
    paths, rows = [], []
    for path in sorted(folder.rglob("*")):
        rank, of, suit = path.parent.name.partition(" of ")
        if of and rank in RANKS and suit in SUITS and path.suffix.lower() in suffixes():
            paths.append(path)
            rows.append({"order": rank, "suits": suit})
    return paths, rows


def read_cmu_archive(folder: Path):
    """USER_POSE_EMOTION_EYES.pgm at any depth, the full-size pictures only (smaller ones end in _2 or _4)."""
    paths, rows = [], []
    for path in sorted(folder.rglob("*.pgm")):
        parts = path.stem.split("_")
        if len(parts) == 4:
            user, pose, emotion, eyes = parts
            eyes = "eyes" if eyes == "open" else eyes
            paths.append(path)
            rows.append({"identity": user, "pose": pose, "emotion": emotion, "glass": eyes})
    return paths, rows


def read_cifar_binary(folder: Path):
    """CIFAR-10's binary version (data_batch_1.bin …): a byte of label, then 3,072 of picture. Pickles are not read."""
    environments = ("air", "land", "air", "land", "land", "land", "land", "land", "water", "land")
    images, rows = [], []
    for path in sorted(folder.rglob("*_batch*.bin")):
        records = np.fromfile(path, np.uint8).reshape(-1, 3073)
        images += list(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        for label in records[:, 0]:
            kind = "transportation" if label in (0, 1, 8, 9) else "animal"
            rows.append({"type": kind, "environment": environments[label]})
    return images, rows


def read_table(folder: Path):
    """labels.csv (column image, then one an aspect) with the files in images/ or beside it. Where there is a column
    core, only its rows with 1; a column half ("choose" or "report") says what a row may be used for."""
    with (folder / "labels.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.DictReader(file) if row.get("core", "1") == "1"]
    base = folder / "images" if (folder / "images").is_dir() else folder
    return [base / row.pop("image") for row in rows], rows


def _facts(clusters: int, labels: Sequence[str], words: Sequence[str] = ()) -> AspectFacts:
    return AspectFacts(clusters, tuple(labels), tuple(words or labels))


ASPECT_LAYOUT = "one folder an aspect, in it one a label: {folder}/color/red/*.jpg"
TABLE_LAYOUT = "{folder}/labels.csv (column image, then one an aspect) and the files in {folder}/images"
DATASETS = {
    item.name: item
    for item in (
        DataSet(
            "aloi",
            "ALOI",
            "object",
            288,
            {
                "color": _facts(2, ("red", "green"), COLORS),
                "shape": _facts(2, ("ball", "cylinder"), ("ball", "cylinder", "cube", "cone", "ring")),
            },
            ("aloi", "ALOI"),
            read_aspect_folders,
            ASPECT_LAYOUT,
        ),
        DataSet(
            "fruit",
            "Fruit",
            "fruit",
            105,
            {
                "color": _facts(3, ("red", "green", "yellow"), COLORS),
                "species": _facts(3, ("apple", "banana", "grape"), FRUITS),
            },
            ("fruit", "Fruit"),
            read_aspect_folders,
            ASPECT_LAYOUT,
        ),
        DataSet(
            "fruit360",
            "Fruit360",
            "fruit",
            4856,
            {
                "color": _facts(4, ("red", "green", "yellow", "burgundy"), COLORS),
                "species": _facts(4, ("apple", "banana", "cherry", "grape"), FRUITS),
            },
            ("fruit360", "Fruit360"),
            read_aspect_folders,
            ASPECT_LAYOUT,
        ),
        DataSet(
            "card",
            "Card",
            "card",
            8029,
            {"order": _facts(13, RANKS), "suits": _facts(4, SUITS)},
            ("cards", "card", "Card"),
            read_card_folders,
            "class folders: {folder}/train/ace of clubs/*.jpg",
        ),
        DataSet(
            "cmuface",
            "CMUface",
            "face",
            640,
            {
                "emotion": _facts(4, ("angry", "happy", "neutral", "sad"), EMOTIONS),
                "glass": _facts(2, ("eyes", "sunglasses"), ("eyes", "glasses", "sunglasses")),
                "identity": _facts(20, (), tuple(map(str, range(1, 11)))),
                "pose": _facts(4, ("left", "right", "straight", "up"), POSES),
            },
            ("cmuface", "faces", "CMUface"),
            read_cmu_archive,
            "the archive's files: {folder}/an2i/an2i_left_angry_open.pgm",
        ),
        DataSet(
            "cars",
            "Stanford Cars",
            "car",
            1200,
            {
                "color": _facts(4, (), ("red", "blue", "white", "black", "silver", "green", "yellow")),
                "type": _facts(3, (), ("sedan", "suv", "truck", "convertible", "van", "coupe")),
            },
            ("cars", "Stanford Cars"),
            read_table,
            TABLE_LAYOUT,
        ),
        DataSet(
            "flowers",
            "Flowers",
            "flower",
            1600,
            {
                "color": _facts(4, (), ("red", "yellow", "white", "purple", "pink", "orange", "blue")),
                "species": _facts(4, (), ("rose", "tulip", "daisy", "sunflower", "lily", "iris", "orchid")),
            },
            ("flowers", "Flowers"),
            read_table,
            TABLE_LAYOUT,
        ),
        DataSet(
            "cifar10",
            "CIFAR-10",
            "object",
            60000,
            {
                "type": _facts(2, ("transportation", "animal")),
                "environment": _facts(3, ("land", "air", "water")),
            },
            ("cifar10", "cifar-10-batches-bin", "CIFAR-10"),
            read_cifar_binary,
            "the binary version: {folder}/data_batch_1.bin …, test_batch.bin",
        ),
        DataSet(
            "fashion",
            "Fashion",
            "product",
            1719,
            {
                "color": _facts(8, PRODUCT_COLORS, (*PRODUCT_COLORS, *MORE_PRODUCTS["color"])),
                "type": _facts(10, PRODUCTS, (*PRODUCTS, *MORE_PRODUCTS["type"])),
                "gender": _facts(5, ("boys", "girls", "men", "unisex", "women")),
                "season": _facts(4, ("fall", "spring", "summer", "winter")),
                "usage": _facts(5, ("casual", "ethnic", "formal", "party", "sports")),
            },
            ("fashion",),
            read_table,
            TABLE_LAYOUT,
        ),
    )
}


def find(name: str) -> DataSet:
    """The data set of this name; ValueError lists the known ones."""
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(DATASETS)}")
    return DATASETS[name]


def load(name: str, data: Path, half: str = "") -> Labelled:
    """The real data set below `data`. A table (labels.csv) serves for every set.

    half: of a set whose table has halves, the one of HALVES to take; "" for both.

    Raises FileNotFoundError that says what to put where. An unexpected size is reported in `note`, not refused.
    """
    item = find(name)
    folder = next((data / folder for folder in item.folders if (data / folder).is_dir()), None)
    if folder is None:
        wanted = item.layout.format(folder=data / item.folders[0])
        raise FileNotFoundError(f"{item.title} is not below {data}: expected {wanted}")
    images, rows = (read_table if (folder / "labels.csv").exists() else item.read)(folder)
    whole = len(images)
    wanted = [i for i, row in enumerate(rows) if row.get("half", half) in (half, "") or not half]
    images, rows = [images[i] for i in wanted], [rows[i] for i in wanted]
    known = [aspect for aspect in item.aspects if rows and all(row.get(aspect) for row in rows)]
    if not known:
        raise FileNotFoundError(f"{folder} holds no labelled images: expected {item.layout.format(folder=folder)}")
    note = f"{item.title} in {folder} has {whole} images, expected {item.size}"
    labels = {aspect: np.array([row[aspect] for row in rows]) for aspect in known}
    return Labelled(images, labels, "" if whole == item.size else note)


def load_or_draw(name: str, data: str | None, images: int, seed: int, difficulty: int = 0, half: str = "") -> Labelled:
    """The real set below `data` where that is given, else its drawn twin."""
    return load(name, Path(data), half) if data else twin(name, images, seed, difficulty)


def at_most(labelled: Labelled, images: int, seed: int) -> Labelled:
    """`images` of the set, drawn by the seed, in their order; all where it has no more."""
    if len(labelled.images) <= images:
        return labelled
    rows = np.sort(np.random.default_rng(seed).permutation(len(labelled.images))[:images])
    labels = {aspect: each[rows] for aspect, each in labelled.labels.items()}
    return Labelled([labelled.images[row] for row in rows], labels, labelled.note)


def twin(name: str, images: int, seed: int, difficulty: int = 0) -> Labelled:
    """Drawn pictures with the aspects of the data set; ValueError for a set that has no twin."""
    from multimap_jax.scenes import SCENES, render_scene

    if name not in SCENES:
        raise ValueError(f"{find(name).title} has no drawn twin; twins: {', '.join(SCENES)}")
    drawn = [render_scene(name, seed=seed, index=i, difficulty=difficulty) for i in range(images)]
    labels = {aspect: np.array([row[aspect] for _, row in drawn]) for aspect in drawn[0][1]}
    return Labelled([picture for picture, _ in drawn], labels)
