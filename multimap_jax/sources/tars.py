"""Reads images in tar files, as WebDataset and img2dataset write them: listed once, read in place, never unpacked."""

from __future__ import annotations

import collections
import functools
import os
import tarfile
from collections.abc import Container, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from multimap_jax.errors import InputError
from multimap_jax.sources import formats
from multimap_jax.sources.names import PATH_CHARACTERS, Notes
from multimap_jax.sources.remote import fetch
from multimap_jax.sources.source import PackedImage, Source
from multimap_jax.storage.filenames import error_text, free_name, name_of_path
from multimap_jax.storage.local import BoundedFile
from multimap_jax.storage.paths import open_file, remote_version
from multimap_jax.storage.reading import is_transient

HEADERS = 1000  # maximum number of global headers of a tar, which apply to all members
SHOWN_CHARACTERS = 200  # characters of a tar and a member in a note
MEMBER_BYTES, TEXT_BYTES = 200 * 2**20, 2**20  # maximum bytes of an image, and of a text
PADDING_BYTES, PADDING_BLOCK = 2**24, 2**20  # bytes after the end of a tar that are checked, and bytes per read
TEXTS = {".txt": "caption", ".json": "json"}  # extensions of texts, and the columns that they become


def read_tars(path: Path, files: Sequence[Path], addresses: bool = True) -> Source:
    """Reads the images in tar files. The columns `caption` and `json` hold the .txt and .json members of each sample.

    Notes count the skipped members: links, names that point outside the tar, sparse files, members over 200 MB, macOS
    metadata, and files that are not images. From a truncated tar, the images that can be read are used. Raises
    InputError if no tar contains an image.
    """
    images: dict[str, PackedImage] = {}
    columns: dict[str, dict[str, str]] = {column: {} for column in TEXTS.values()}
    skipped, damaged = Notes(), []
    for file in files:
        samples, before, problem, version = Samples(), len(images), "", remote_version(file)
        with open_file(file) as content:
            try:
                read_members(file, content, version, images, samples, skipped)
            except Exception as error:  # tarfile's errors for damaged files have no common base class
                if is_transient(error):
                    raise
                problem = error_text(error)
        found = len(images) - before
        if problem and not found:
            damaged.append(f"{name_of_path(file.name)} is empty or not a tar file ({problem})")
        elif problem:
            count = f"{found:,} image{' was' if found == 1 else 's were'} read ({problem})"
            damaged.append(f"{name_of_path(file.name)} is incomplete: {count}")
        for ending, column in TEXTS.items():
            columns[column] |= samples.texts_of_images(ending)
    notes = damaged + skipped.sentences()
    if not images:
        raise InputError("; ".join([f"there are no images in {path}", *notes]))
    texts = {column: [found.get(name, "") for name in images] for column, found in columns.items() if found}
    return Source(path, images, tuple(notes), texts)


def read_members(
    file: Path, content: BinaryIO, version: str | None, images: dict, samples: Samples, skipped: Notes
) -> None:
    """Adds the images of a tar to `images` and, with its texts, to `samples`. Raises any kind of error if the tar is
    damaged."""
    for row, tar, member in members_of(content):
        ending, reason = PurePosixPath(member.name).suffix.lower(), reason_to_skip(member, tar)
        if member.isdir():
            continue
        if reason:
            example = f"{file.name}: {member.name}"[:SHOWN_CHARACTERS]
            skipped.add(f"tar members were skipped ({reason}): ", example, counted=True)
        elif ending in TEXTS:
            held = tar.extractfile(member)
            text = held.read().decode("utf-8", "replace").strip() if held else ""
            stem, _, sample = samples.enter(member.name)
            samples.texts[ending][sample][stem] = text
        else:
            name = name_of_path(member.name)
            if name in images:
                name = free_name(f"{name_of_path(file.name)}#{row}", images)
            begin, size = member.offset_data, member.size
            read = functools.partial(fetch, file, size, begin, begin + size)
            if version is None:  # on this machine
                read = functools.partial(read_bytes, os.fspath(file), begin, size)
            images[name] = PackedImage(f"{file}", f"{begin}-{size}", read, version, remote=version is not None)
            samples.images[name] = samples.enter(member.name)


def members_of(content: BinaryIO) -> Iterator[tuple[int, tarfile.TarFile, tarfile.TarInfo]]:
    """(row, tar, member) of each member. Raises any kind of error if the tar is damaged."""
    with tarfile.open(fileobj=content, mode="r:", errorlevel=2) as tar:
        last = -1
        for row, member in enumerate(tar):
            tar.members = []  # type: ignore[attr-defined]  # otherwise every header stays in memory
            if member.size < 0 or member.offset <= last:  # some Python versions would loop forever
                raise tarfile.ReadError("a member has no valid size")
            if (headers := len(tar.pax_headers)) > HEADERS:  # tarfile searches all of them for each member
                raise tarfile.ReadError(f"{headers:,} global headers, expected at most {HEADERS:,}")
            last = member.offset
            yield row, tar, member
        check_end(content, tar.offset)


def check_end(content: BinaryIO, offset: int) -> None:
    """Raises tarfile.ReadError if the tar does not end at `offset`, because tarfile stops silently at a damaged header.
    A tar ends with blocks of zeros, any number of them."""
    content.seek(offset)
    block = content.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"it ends at byte {offset + len(block):,} without the end-of-archive blocks")
    if any(block):
        raise tarfile.ReadError(f"no header at byte {offset:,}")
    for _ in range(PADDING_BYTES // PADDING_BLOCK):
        block = content.read(PADDING_BLOCK)
        if block.count(0) < len(block):
            raise tarfile.ReadError(f"a block of zeros at byte {offset:,} with data after it")
        if not block:
            break


class Samples:
    """The images of one tar and their texts.

    As in WebDataset, the members of a sample are consecutive and share a key, their name up to the first dot. A name
    that repeats starts a new sample. An image gets the text of its sample. If its sample has none, as in tars where all
    texts come after all images, the image gets the text of a sample with its key that has no image.
    """

    def __init__(self) -> None:
        self.sample, self.key = 0, ""  # of the current sample
        self.members: set[str] = set()  # the names of its members so far
        self.images: dict[str, tuple[str, str, int]] = {}  # name -> its stem, key and sample
        self.texts: dict[str, dict[int, dict[str, str]]] = {
            ending: collections.defaultdict(dict) for ending in TEXTS
        }  # by sample, then by stem
        self.samples: dict[str, list[int]] = collections.defaultdict(list)  # by key

    def enter(self, member: str) -> tuple[str, str, int]:
        """The stem, key and sample of the next member."""
        folder, slash, base = member.rpartition("/")
        key = f"{folder}{slash}{base.partition('.')[0]}"
        if key != self.key or member in self.members or not self.sample:
            self.sample, self.key, self.members = self.sample + 1, key, set()
            self.samples[key].append(self.sample)
        self.members.add(member)
        return member.rpartition(".")[0], key, self.sample

    def texts_of_images(self, ending: str) -> dict[str, str]:
        """Names of images -> their texts with this extension, for images that have one."""
        found: dict[str, str] = {}
        texts = self.texts[ending]
        with_image = {sample for *_, sample in self.images.values()}
        stems = collections.Counter(stem for stem, *_ in self.images.values())
        for name, (stem, key, sample) in self.images.items():
            candidates = [texts[sample]] if sample in texts else []
            if not candidates and stems[stem] == 1:  # otherwise the text may belong to any image of this stem
                candidates = [texts[i] for i in self.samples[key] if i not in with_image and i in texts]
            text = text_of(stem, key, candidates, stems)
            found |= {} if text is None else {name: text}
        return found


def text_of(stem: str, key: str, samples: Sequence[dict[str, str]], stems: Container[str]) -> str | None:
    """The text of an image among samples: the one with its stem, otherwise with its key, otherwise the only one whose
    stem belongs to no other image. None if there is no such text, or more than one."""
    free = {name for texts in samples for name in texts if name not in stems}
    for wanted in ([stem], [key], free if len(free) == 1 else ()):
        found = [texts[name] for texts in samples for name in wanted if name in texts]
        if len(found) == 1:
            return found[0]
    return None


def reason_to_skip(member: tarfile.TarInfo, tar: tarfile.TarFile) -> str:
    """Why a member is skipped, "" if it is not."""
    path, end = PurePosixPath(member.name[: PATH_CHARACTERS + 1]), member.offset_data + member.size
    ending = path.suffix.lower()
    reasons = {
        f"names over {PATH_CHARACTERS:,} characters": len(member.name) > PATH_CHARACTERS,
        "macOS metadata": "__MACOSX" in path.parts or path.name.startswith("._"),
        "links": member.islnk() or member.issym(),
        "names that point outside the tar": path.is_absolute() or ".." in path.parts,
        "not regular files": not member.isfile(),
        "sparse files": member.issparse() or end > tar.offset,
        f"over {MEMBER_BYTES // 2**20} MB": member.size > MEMBER_BYTES,
        "not images by their extension": ending not in (*TEXTS, *formats.suffixes()),
        f"texts over {TEXT_BYTES // 2**20} MB": ending in TEXTS and member.size > TEXT_BYTES,
    }
    return next((reason for reason, applies in reasons.items() if applies), "")


def read_bytes(file: str, offset: int, size: int) -> bytes:
    with BoundedFile(file) as content:
        content.seek(offset)
        found = content.read(size)
    if len(found) < size:
        raise ValueError("the tar ends before the end of the image")
    return found
