"""Images in tar files, as WebDataset and img2dataset write them: listed once, read where they lie, never unpacked."""

from __future__ import annotations

import collections
import functools
import os
import tarfile
from collections.abc import Container, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from multimap_jax.sources import formats as kinds
from multimap_jax.sources.remote import fetch
from multimap_jax.sources.source import PackedImage, Source
from multimap_jax.storage.filenames import free_name, name_of_path
from multimap_jax.storage.paths import BoundedFile, error_text, open_file, remote_version
from multimap_jax.storage.reading import is_transient

HEADERS, LONGEST, SHOWN = 1000, 4096, 200  # of a whole tar; letters of a name, and of one in a note
MEMBER_BYTES = 200 * 2**20
TEXT_BYTES = 2**20
PADDING, PART = 2**24, 2**20  # of what stands behind the end of a tar, looked at and taken at once
TEXTS = {".txt": "caption", ".json": "json"}  # endings of what stands beside images, and the columns of that
LISTED = 5


def read_tars(place: Path, files: list[Path], addresses: bool = True) -> Source:
    """The images in tar files. Columns `caption` and `json` hold what lies beside them in .txt and .json files.

    Links, names that point outside, sparse members, those over 200 MB, macOS's own files and what is no image are
    passed over, and counted in notes; of a tar that is cut short what could be read is used. ValueError where there is
    no image in any.
    """
    images: dict[str, PackedImage] = {}
    columns: dict[str, dict[str, str]] = {column: {} for column in TEXTS.values()}
    passed, notes = Passed(), []
    for file in files:
        beside, before, mark, problem = Beside(), len(images), remote_version(file), ""
        with open_file(file) as content:
            try:
                for row, tar, member in members_of(content):
                    reason, ending = refused(member, tar), PurePosixPath(member.name).suffix.lower()
                    if member.isdir():
                        continue
                    if not reason and ending not in (*TEXTS, *kinds.suffixes()):
                        reason = "no image by its ending"
                    if reason:
                        passed.add(reason, f"{file.name}: {member.name}")
                    elif ending in TEXTS:
                        if member.size <= TEXT_BYTES:
                            text = tar.extractfile(member).read().decode("utf-8", "replace").strip()
                            beside.add_text(member.name, ending, text)
                        else:
                            passed.add(f"texts over {TEXT_BYTES // 2**20} MB", f"{file.name}: {member.name}")
                    else:
                        name = name_of_path(member.name)
                        if name in images:
                            name = free_name(f"{name_of_path(file.name)}#{row}", images)
                        images[name] = packed(file, member.offset_data, member.size, mark)
                        beside.add_image(member.name, name)
            except Exception as error:  # tarfile has no common base class for what a damaged file raises
                if is_transient(error):
                    raise
                problem = error_text(error)
        found = len(images) - before
        if problem and not found:
            notes.append(f"{name_of_path(file.name)} is no tar file, or an empty one ({problem})")
        elif problem:
            said = f"{found:,} image{' in it was' if found == 1 else 's in it were'} read ({problem})"
            notes.append(f"{name_of_path(file.name)} is cut short: {said}")
        for ending, column in TEXTS.items():
            columns[column] |= beside.texts_of_images(ending)
    notes += passed.sentences()
    if not images:
        raise ValueError(f"there is no image in {place}" + "".join(f"; {note}" for note in notes))
    columns = {column: [own.get(name, "") for name in images] for column, own in columns.items() if own}
    return Source(place, images, tuple(notes), columns)


def members_of(content: BinaryIO) -> Iterator[tuple[int, tarfile.TarFile, tarfile.TarInfo]]:
    """(place, tar, member) of each member. An error of any kind where the tar is damaged."""
    with tarfile.open(fileobj=content, mode="r:", errorlevel=2) as tar:
        last = -1
        for row, member in enumerate(tar):
            tar.members = []  # else every header stays in memory
            if member.size < 0 or member.offset <= last:  # some Pythons would begin anew without end
                raise tarfile.ReadError("a member of no size")
            if len(tar.pax_headers) > HEADERS:  # tarfile looks through all of them for each member
                raise tarfile.ReadError(
                    f"{len(tar.pax_headers):,} headers for all members, expected {HEADERS:,} at most"
                )
            last = member.offset
            yield row, tar, member
        check_end(content, tar.offset)


def check_end(content: BinaryIO, offset: int) -> None:
    """tarfile.ReadError where what tarfile took for the end of a tar, at `offset`, is none: it stops without a word at
    a header that is damaged or cut. A tar ends with blocks of zeros, as many as its writer likes."""
    content.seek(offset)
    block = content.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"it ends at byte {offset + len(block):,}, without the blocks that end a tar")
    if any(block):
        raise tarfile.ReadError(f"no header at byte {offset:,}")
    for _ in range(PADDING // PART):
        part = content.read(PART)
        if part.count(0) < len(part):
            raise tarfile.ReadError(f"a block of zeros at byte {offset:,}, and more behind it")
        if not part:
            break


class Passed:
    """Members that are passed over: why, how many, and the first of them."""

    def __init__(self):
        self.counts, self.first = collections.Counter(), collections.defaultdict(list)

    def add(self, reason: str, member: str) -> None:
        self.counts[reason] += 1
        if len(self.first[reason]) < LISTED:
            self.first[reason].append(name_of_path(member[:SHOWN]))

    def sentences(self) -> list[str]:
        return [
            f"{count:,} members of tar files were passed over, {reason}: {', '.join(self.first[reason])}"
            for reason, count in self.counts.items()
        ]


class Beside:
    """What stands beside the images of one tar.

    Members of one sample follow each other and have one key, their name up to the first dot, as WebDataset has it; a
    name that is there again begins another sample. An image has the text of its sample. Where its sample has none, as
    in tars where all texts come after all images, it has that of a sample of its key that has no image.
    """

    def __init__(self):
        self.sample, self.key, self.names = 0, "", set()  # that are read, and what is in it
        self.images: dict[str, tuple[str, str, int]] = {}  # what one is called -> its stem, key and sample
        self.texts: dict[str, dict[int, dict[str, str]]] = {ending: {} for ending in TEXTS}  # by sample, then by stem
        self.samples: dict[str, list[int]] = collections.defaultdict(list)  # by key

    def add_image(self, member: str, name: str) -> None:
        self._enter(member)
        self.images[name] = (member.rpartition(".")[0], self.key, self.sample)

    def add_text(self, member: str, ending: str, text: str) -> None:
        self._enter(member)
        self.texts[ending].setdefault(self.sample, {})[member.rpartition(".")[0]] = text

    def _enter(self, member: str) -> None:
        folder, slash, base = member.rpartition("/")
        key = f"{folder}{slash}{base.partition('.')[0]}"
        if key != self.key or member in self.names or not self.sample:
            self.sample, self.key, self.names = self.sample + 1, key, set()
            self.samples[key].append(self.sample)
        self.names.add(member)

    def texts_of_images(self, ending: str) -> dict[str, str]:
        """What images are called -> the text, of those that have one of this kind."""
        found, texts = {}, self.texts[ending]
        taken, stems = {sample for *_, sample in self.images.values()}, collections.Counter()
        stems.update(stem for stem, *_ in self.images.values())
        for name, (stem, key, sample) in self.images.items():
            own = [texts[sample]] if sample in texts else []
            if not own and stems[stem] == 1:  # a text may be any one's of several of the same name
                own = [texts[other] for other in self.samples[key] if other not in taken and other in texts]
            text = text_of(stem, key, own, stems)
            found |= {} if text is None else {name: text}
        return found


def text_of(stem: str, key: str, samples: Sequence[dict[str, str]], stems: Container[str]) -> str | None:
    """The text of an image among those of samples: of its own name, else of its key, else the one that is no other
    image's; None where there is none, or there are several."""
    others = {other for texts in samples for other in texts if other not in stems}
    for wanted in ([stem], [key], others if len(others) == 1 else ()):
        found = [texts[name] for texts in samples for name in wanted if name in texts]
        if len(found) == 1:
            return found[0]
    return None


def refused(member: tarfile.TarInfo, tar: tarfile.TarFile) -> str:
    """Why a member is not looked at, "" where nothing is against it."""
    if len(member.name) > LONGEST:
        return f"with names of over {LONGEST:,} letters"
    path = PurePosixPath(member.name)
    if "__MACOSX" in path.parts or path.name.startswith("._"):
        return "macOS's notes on other files"
    if member.islnk() or member.issym():
        return "links"
    if path.is_absolute() or ".." in path.parts:
        return "with names that point outside"
    if not member.isfile() and not member.isdir():
        return "no files"
    if member.issparse() or (member.isfile() and member.offset_data + member.size > tar.offset):
        return "sparse, with holes that are not in the tar"
    if member.isfile() and member.size > MEMBER_BYTES:
        return f"over {MEMBER_BYTES // 2**20} MB"
    return ""


def packed(file: Path, offset: int, size: int, mark: str | None) -> PackedImage:
    """One image in a tar. mark: the version of a tar of a store, None on this machine."""
    if mark is None:
        return PackedImage(
            os.fspath(file), f"{offset}-{size}", functools.partial(read_bytes, os.fspath(file), offset, size)
        )
    read = functools.partial(fetch, file, size, offset, offset + size)
    return PackedImage(f"{file}", f"{offset}-{size}", read, mark, remote=True)


def read_bytes(file: str, offset: int, size: int) -> bytes:
    with BoundedFile(file) as content:
        content.seek(offset)
        found = content.read(size)
    if len(found) < size:
        raise ValueError("the tar ends within it")
    return found
