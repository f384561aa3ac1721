"""The shard plan: assigns each image to a shard, the unit in which work is done, written and resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from multimap_jax.storage.encoding import as_table
from multimap_jax.storage.output import set_aside, write
from multimap_jax.storage.reading import explained, is_transient, read_table

SHARD_LIMIT = 10**9  # larger shard numbers come from a damaged file
REPAIR = "run again with one worker on all images to repair it"  # advice for a damaged file of a run

# The name and the version of an image.
Image = tuple[str, str]
# Shard -> the images in it, of finished shards.
Held = dict[int, set[Image]]


class ShardPlan:
    """The files plan_*.parquet in the folder `name` of `out`. New images go into new files; files never change."""

    def __init__(self, out: Path, name: str):
        self.out, self.name, self.folder = out, name, out / name

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("plan_*.parquet") if path.stem[5:].isdecimal())

    def read(self) -> dict[Image, int]:
        """{(name, version): shard}."""
        found: dict[Image, int] = {}
        for file in self.files():
            found |= read_plan(file)
        return found

    def mend(self, held: Held) -> list[Path]:
        """Rebuilds damaged files from the finished shards; returns the damaged files.

        held: the images in each finished shard."""
        damaged = [file for file in self.files() if not is_sound(read_plan, file)]
        if damaged:
            known = {image: shard for shard, images in held.items() for image in images}
            for file in damaged:
                set_aside(self.out, f"{self.name}/{file.name}")
            self.write(damaged[0].name, known)
        return damaged

    def write(self, file: str, shards: dict[Image, int]) -> None:
        table = {"name": [name for name, _ in shards], "version": [read for _, read in shards]}
        write(self.out, f"{self.name}/{file}", as_table(table | {"shard": list(shards.values())}))

    def extend(self, images: Sequence[Image], size: int, held: Held) -> dict[Image, int]:
        """The shards of all `images`. Images without a shard go into new shards of `size` images, in a new file.

        held: the images in each finished shard. An image that is missing from its finished shard gets a new one.
        """
        planned = self.read()
        lost = {image for image, shard in planned.items() if shard in held and image not in held[shard]}
        new = [image for image in images if image not in planned or image in lost]
        if new:
            first = max([*held, *planned.values()], default=-1) + 1
            added = {image: first + i // size for i, image in enumerate(new)}
            files = self.files()
            number = int(files[-1].stem.rpartition("_")[2]) + 1 if files else 0
            self.write(f"plan_{number:06}.parquet", added)
            planned |= added
        return {image: planned[image] for image in images}


def read_plan(file: Path) -> dict[Image, int]:
    """{(name, version): shard} of one file; ValueError if it is damaged."""
    with explained(f"{file}", REPAIR):
        table = read_table(file, ("name", "version", "shard"))
    check_texts(table["name"], table["version"])
    if not all(type(shard) is int and 0 <= shard < SHARD_LIMIT for shard in table["shard"]):
        raise ValueError(f"{file} holds shards that are not valid numbers")
    return dict(zip(zip(table["name"], table["version"]), table["shard"]))


def numbers_of(files: Iterable[Path], like: Path) -> list[int]:
    """The numbers of the files named like `like` but with any number, sorted. Ignores other files, such as copies that
    the user made."""
    prefix, names = like.stem.rpartition("_")[0], {path.name for path in files}
    texts = {name.removesuffix(like.suffix).rpartition("_")[2] for name in names}
    numbers = sorted({int(text) for text in texts if text.isascii() and text.isdecimal()})
    return [number for number in numbers if f"{prefix}_{number:06}{like.suffix}" in names]


def check_texts(*columns: list) -> None:
    if not all(isinstance(text, str) for column in columns for text in column):
        raise ValueError("it holds names that are not text")


def is_sound(read: Callable, *arguments: object) -> bool:
    """Whether `read` accepts a file. Transient errors, such as a lack of memory, say nothing about the file and are
    raised."""
    try:
        read(*arguments)
    except FileNotFoundError:
        return False
    except Exception as error:  # readers of parquet files and arrays raise any kind of error for a damaged file
        if is_transient(error):
            raise
        return False
    return True
