"""Copies or links the images of each group into its own folder."""

from __future__ import annotations

import collections
import filecmp
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from multimap_jax.errors import InputError, InputExistsError, InputOSError, MissingError
from multimap_jax.images.decoding import is_image, opened_file
from multimap_jax.runs.finished import RunImages
from multimap_jax.runs.messages import count
from multimap_jax.runtime.progress import open_bar
from multimap_jax.sources import formats as kinds
from multimap_jax.sources.source import PackedImage
from multimap_jax.storage.local import rename_new
from multimap_jax.storage.markers import MARK, make_marked
from multimap_jax.storage.output import staging, tidy
from multimap_jax.storage.paths import storage_of
from multimap_jax.storage.portable_names import make_distinct, portable_name, portable_path

# Most groups that the plan lists.
SHOWN = 20
# First bytes of a file -> the extension for images whose names have none.
SIGNATURES = {b"\xff\xd8": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"RIFF": ".webp", b"BM": ".bmp", b"II*": ".tif"}


class FolderJob(Protocol):
    """What folders need of `runs.export.Export`."""

    @property
    def to(self) -> Path: ...

    @property
    def how(self) -> str: ...

    @property
    def dry_run(self) -> bool: ...


def export_folders(
    job: FolderJob, names: Sequence[str], groups: Sequence[str], images: RunImages, say: Callable, progress: bool
) -> None:
    """Says what is to be done, then does it. Errors as `run_export`, before anything is written."""
    if not storage_of(job.to).local:
        raise InputError(f"{job.to} is in a store: give a folder on this machine", "to")
    if images.note:
        raise MissingError(images.note, "images")
    missing = [name for name in names if not is_found(images.source.images, name)]
    if missing:
        raise MissingError(
            f"{images.source.path} lacks {len(missing):,} of the run's {count(len(names), 'image')}, such as "
            f"{missing[0]}: give their folder",
            "images",
        )
    found = {name: images.source.images[name] for name in names}
    other = {name: None for name in names if not is_image(found[name])}
    if len(other) == len(names):
        message = f"none of {count(len(names), 'file')} in {images.source.path} is an image: give the images' folder"
        raise InputError(message, "images")
    if other:
        first = next(iter(other))
        say(f"skipping {len(other):,} of {count(len(names), 'file')}, which are not images, such as {first}")
        kept = [i for i, name in enumerate(names) if name not in other]
        names, groups = [names[i] for i in kept], [groups[i] for i in kept]
    if job.how == "link" and any(isinstance(image, PackedImage) for image in found.values()):
        raise InputError("cannot link images that are inside tar or parquet files: copy them", "how", "copy")
    known = sorted(set(groups))
    folders = dict(zip(known, make_distinct(map(portable_name, known))))
    paths = make_distinct(
        f"{folders[group]}/{portable_path(name)}{ending(found[name], name)}" for name, group in zip(names, groups)
    )
    check_inside(job.to, paths)
    placements = [(found[name], job.to / path) for name, path in zip(names, paths)]
    unplaced = [placement for placement in placements if not is_placed(*placement, job.how)]
    say_plan(job, groups, folders, len(placements) - len(unplaced), say)
    if earlier := exported_before(job.to, paths):
        say(
            f"{job.to} already has {count(len(earlier), 'image')} of another export, such as {earlier[0]}; they stay "
            "there. Give a new folder if you do not want to mix them"
        )
    check_free_space(job, [image for image, _ in unplaced if not isinstance(image, PackedImage)])
    if job.dry_run:
        return say("nothing was written (--dry_run)")
    try:
        unmarked = [folder for folder in folders.values() if not make_marked(job.to / folder)]
    except OSError as error:
        raise InputOSError(f"cannot write into {job.to} ({error.strerror}): give another folder", "to") from None
    if unmarked:
        say(
            f"{count(len(unmarked), 'folder')} already had files, such as {unmarked[0]}/: a later run on a parent "
            "folder will also read the images exported there"
        )
    verb = "copying images" if job.how == "copy" else "linking images"
    try:
        with open_bar(len(unplaced), verb, "image", shown=progress) as bar:
            for image, target in unplaced:
                place(image, target, job.how, job.to)
                bar.update(1)
    finally:
        tidy(job.to)
    say(f"written: {job.to}")


def is_found(images: Mapping, name: str) -> bool:
    image = images[name] if name in images else None
    return isinstance(image, PackedImage) or (image is not None and os.path.exists(image))


def ending(image: Path | PackedImage, name: str) -> str:
    """The extension for an image whose name has none, such as a row of a table, or one that is not an image's."""
    if Path(name).suffix.lower() in kinds.suffixes():
        return ""
    with opened_file(image) as file:
        content = file.read(kinds.BEGINNING)
    return next((ending for begin, ending in SIGNATURES.items() if content.startswith(begin)), ".image")


def check_inside(to: Path, paths: Sequence[str]) -> None:
    """InputError if a target folder would lead out of `to`, or is not a folder."""
    if to.is_symlink() and not to.exists():
        raise InputError(f"{to} is a broken link: give another folder", "to")
    if to.exists() and not to.is_dir():
        raise InputError(f"{to} is a file: give a folder, or a table (.parquet or .csv)", "to")
    folders = {"/".join(parts[:i]) for parts in (path.split("/") for path in paths) for i in range(1, len(parts))}
    for folder in sorted(folders):
        path = to / folder
        if path.is_symlink():
            raise InputError(f"{path} is a link that leads out of {to}: remove it, or give another folder", "to")
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file, expected a folder: give another folder", "to")


def is_placed(image: Path | PackedImage, target: Path, how: str) -> bool:
    """Whether an image is already in its place. InputExistsError if another file is there."""
    placed = os.path.lexists(target)
    if placed and not is_same(image, target, how):
        message = (
            f"{target} already exists and differs from this export; another run or export may have written it. Export "
            "overwrites nothing: give a new folder"
        )
        raise InputExistsError(message, "to")
    return placed


def is_same(image: Path | PackedImage, target: Path, how: str) -> bool:
    if how == "link" and not isinstance(image, PackedImage):
        return target.is_symlink() and os.readlink(target) == str(image.absolute())
    if target.is_symlink() or not target.is_file():
        return False
    if isinstance(image, PackedImage):
        content = image.read()
        return target.stat().st_size == len(content) and target.read_bytes() == content
    return filecmp.cmp(image, target, shallow=False)


def exported_before(to: Path, paths: Sequence[str]) -> list[str]:
    """The images in the folders of earlier exports that are not among `paths`."""
    files = (file for mark in to.glob(f"*/{MARK}") for file in mark.parent.rglob("*") if not file.is_dir())
    found = {file.relative_to(to).as_posix() for file in files if file.name != MARK}
    return sorted(found.difference(paths))


def say_plan(job: FolderJob, groups: Sequence[str], folders: dict[str, str], done: int, say: Callable) -> None:
    sizes = collections.Counter(groups)
    say(f"{job.how} {count(len(groups), 'image')} into {count(len(sizes), 'folder')} in {job.to}:")
    for group, size in sizes.most_common(SHOWN):
        renamed = "" if folders[group] == group else f"   (group {group})"
        say(f"  {folders[group]}/  {count(size, 'image')}{renamed}")
    if len(sizes) > SHOWN:
        say(f"  … and {len(sizes) - SHOWN:,} more")
    if done:
        already = f"all {done:,}" if done == len(groups) else f"{done:,} of {len(groups):,}"
        say(f"{already} {'is' if done == 1 else 'are'} already there")


def check_free_space(job: FolderJob, files: Sequence[Path]) -> None:
    """InputOSError if the disk has too little space."""
    if job.how == "link":
        return
    needed, folder = sum(os.stat(file).st_size for file in files), job.to.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        message = f"the images need {needed:,} bytes, {folder} has {free:,} free: give another folder, or make links"
        raise InputOSError(message, "to")


def place(image: Path | PackedImage, target: Path, how: str, to: Path) -> None:
    """Writes one file, under a temporary name first; InputExistsError if another one appeared in the meantime."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if how == "link" and not isinstance(image, PackedImage):
        return os.symlink(image.absolute(), target)
    with staging(to) as stage, opened_file(image) as content:
        aside = stage.write_aside("image", lambda file: shutil.copyfileobj(content, file), sync=False)
        if not is_image(aside):  # the file was replaced since it was checked
            raise InputError(f"{image} changed and is no longer an image: run the export again", "images")
        try:
            rename_new(aside, target)
        except FileExistsError:
            message = f"{target} appeared during the export. Export overwrites nothing: give a new folder"
            raise InputExistsError(message, "to") from None
