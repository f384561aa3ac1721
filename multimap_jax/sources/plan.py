"""The plan: which image is in which shard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from multimap_jax.storage.encoding import as_table
from multimap_jax.storage.output import set_aside, write
from multimap_jax.storage.reading import (
    explained,
    is_transient,
    read_table,
)

MOST_SHARDS = 10**9
MEND = "run again with one worker and no --part, which mends it"
Image = tuple[str, str]  # name and version


class ShardPlan:
    """Which shard each image is in: files plan_*.parquet in the folder `name` of `out`, to which is only ever added."""

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

    def mend(self, held: dict[int, set[Image]]) -> list[Path]:
        """Replaces files that are damaged by what the shards that are done say themselves; returns those files."""
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

    def extend(self, images: Sequence[Image], size: int, held: dict[int, set[Image]]) -> dict[Image, int]:
        """The shards of all `images`; those that have none go into new shards of `size`, and this is written down.

        held: what the shards that are done hold. An image that its shard was done without has no shard.
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
    """{(name, version): shard} of one file; any error where it is damaged."""
    with explained(f"{file}", MEND):
        table = read_table(file, ("name", "version", "shard"))
    check_texts(table["name"], table["version"])
    if not all(type(shard) is int and 0 <= shard < MOST_SHARDS for shard in table["shard"]):
        raise ValueError("shards that are no numbers")
    return dict(zip(zip(table["name"], table["version"]), table["shard"]))


def numbers_of(files: Iterable[Path], like: Path) -> list[int]:
    """The numbers of files that are called as `like` is with another number, in order; others have made copies of their
    own."""
    begin, found = like.stem.rpartition("_")[0], {path.name for path in files}
    numbers = {name.removesuffix(like.suffix).rpartition("_")[2] for name in found}
    known = sorted({int(number) for number in numbers if number.isascii() and number.isdecimal()})
    return [number for number in known if f"{begin}_{number:06}{like.suffix}" in found]


def check_texts(*columns: list) -> None:
    if not all(isinstance(text, str) for column in columns for text in column):
        raise ValueError("names that are no text")


def is_sound(read: Callable, *arguments) -> bool:
    """Whether a file of a store is as it was written. Without memory or with a disk that fails nothing is known of it,
    and that is raised."""
    try:
        read(*arguments)
    except FileNotFoundError:
        return False
    except Exception as error:  # readers of parquet and of arrays raise whatever they like for a damaged file
        if is_transient(error):
            raise
        return False
    return True
