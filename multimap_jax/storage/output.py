"""The folder --out: how files come into it, how multimap knows its own, and the only function that deletes them.

    .multimap/                     in every folder that multimap writes; the reader of images passes it over
    .multimap/temporary/HEX/       files that are being written
    .multimap/written/UNIT.json    size and SHA-256 of the files of a unit (a model, a shard, results), written first
    .multimap/lock-0-of-1          one run at a time
    .multimap/group-HEX/           what the processes of a run tell each other

A list of files may come from a stranger as well as a tree may. So what is deleted has a name of a form that is declared
here, lies below the folder with no link on the way, and is byte by byte what was written; of an object in a store the
size is compared, not the bytes. Everything else stays.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from multimap_jax.storage.markers import THUMBNAILS
from multimap_jax.storage.paths import (
    error_text,
    exists,
    is_remote,
    open_file,
    reaching,
    upload,
    write_content,
    write_object,
)
from multimap_jax.storage.reading import read_json

HIDDEN = ".multimap"
GO_ON = "what was finished is kept, and the same command goes on from there"
# The files of results: what the last command asked for, whole.
LABELS, TABLE, METRICS, REPORT, RUN = "labels.csv", "labels.parquet", "metrics.json", "report.html", "run.json"
GROUPS = "groups.json"  # of a run whose groups were edited
RESULTS = (LABELS, TABLE, METRICS, REPORT, GROUPS)

MODEL = "[a-z0-9-]{1,32}-[0-9a-f]{8}-[0-9a-f]{12}"
NUMBER, PROXIES = "[0-9]{6,9}", "[a-z0-9-]{1,32}-[0-9a-f]{16}"
# The names that files of ours have, and the unit that each belongs to: what is recorded and deleted together.
NAME_FORMS = tuple(
    (re.compile(form), unit)
    for form, unit in (
        ("|".join(map(re.escape, (*RESULTS, RUN))), "results"),
        (rf"models/({MODEL})/(?:model\.json|arrays\.npz)", r"models+\1"),
        (rf"({THUMBNAILS.pattern})/[0-9]{{1,9}}\.jpg", r"\1"),
        (rf"plan/plan_({NUMBER})\.parquet", r"plan+\1"),
        (r"embeddings/encoder\.json", "embeddings+encoder"),
        (rf"embeddings/(img_emb|metadata|skipped)/\1_({NUMBER})\.(?:npy|parquet)", r"embeddings+\2"),
        (rf"proxies/({PROXIES})/(key|(?:plan|proxies)_{NUMBER})\.(?:json|parquet|npz)", r"proxies+\1+\2"),
        (r"words/words-([0-9a-f]{32})\.json", r"words+\1"),
    )
)
UNIT = re.compile(r"[a-z0-9+_-]{1,100}")
# What is only needed while a run is at work, below HIDDEN.
SCRATCH = re.compile(
    r"temporary/[0-9a-f]{16}(/[\w.-]{1,100})?|group-[0-9a-f]{16}(/[\w.-]{1,100})?|lock-\d{1,9}-of-\d{1,9}(\.\w{1,20}){0,4}"
)
RECORD_BYTES = 2**26
VERSIONS = 4  # of a file in a record: the one that is there while the next one comes, also after runs that were killed
Content = str | bytes | Callable[[BinaryIO], None]
Version = tuple[int, str]  # bytes, and their SHA-256


def unit_of(name: str) -> str | None:
    """The unit of a file by its name below --out, None for a name that no file of ours has."""
    for form, unit in NAME_FORMS:
        if found := form.fullmatch(name):
            return found.expand(unit)
    return None


def inside(out: Path, name: str) -> Path:
    """The path of `name` below `out`. ValueError where a link stands on the way."""
    path = out
    for part in name.split("/"):
        path = path / part
        if not is_remote(path) and path.is_symlink():
            raise ValueError(f"{path} is a link; multimap writes and deletes through none: give another --out")
    return path


def prepare_folder(out: Path) -> None:
    """Creates the folder `out` and tries it; OSError or ValueError says that it cannot be written."""
    if not is_remote(out) and out.is_symlink() and not out.exists():
        raise ValueError(f"{out} is a link that leads to nothing: give another folder with --out")
    try:
        if is_remote(out):
            tried = f"{HIDDEN}/temporary/{secrets.token_hex(8)}"
            write_object("", out / tried)
            _delete(out, tried, None)
            return
        hidden = inside(out, HIDDEN)
        hidden.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=hidden).close()  # has no name: several processes may try, and one of them sweep
    except OSError as error:
        reason = error.strerror or error_text(error)
        raise OSError(f"cannot write into {out} ({reason}): give another folder with --out") from None


class Staging:
    """Files that are written aside, in `folder`, and then put into `out`, in the order in which they came."""

    def __init__(self, out: Path, folder: Path):
        self.out, self.folder = out, folder
        self.files: dict[str, tuple[Path, Version]] = {}

    def add(self, name: str, content: Content, sync: bool = True) -> None:
        """Writes one file aside; OSError with a sentence."""
        if unit_of(name) is None:
            raise ValueError(f"{name} is no name of a file that multimap writes")
        try:
            path = self.write_aside(str(len(self.files)), content, sync)
            known = content.encode() if isinstance(content, str) else content
            version = (
                (len(known), hashlib.sha256(known).hexdigest()) if isinstance(known, bytes) else file_version(path)
            )
        except OSError as error:
            raise _failed(self.out / name, error) from None
        self.files[name] = path, version

    def take(self, name: str, path: Path) -> None:
        """A file that lies aside already."""
        self.files[name] = path, file_version(path)

    def write_aside(self, name: str, content: Content, sync: bool) -> Path:
        path = self.folder / name
        with path.open("wb") as file:
            write_content(file, content)
            if sync:
                os.fsync(file.fileno())
        return path

    def place(self, instead_of: Iterable[str] = ()) -> None:
        """Puts all files in place, each whole. instead_of: results that go before the first new one comes.

        Raises FileExistsError where results would replace a file that is not as multimap wrote it; another file in the
        way is set aside. OSError as `add`.
        """
        units: dict[str, dict[str, Version]] = {}
        for name, (_, version) in self.files.items():
            units.setdefault(unit_of(name), {})[name] = version
        known = {name: versions for unit in units for name, versions in recorded(self.out, unit).items()}
        for name in self.files:
            path = inside(self.out, name)
            if exists(path) and not _is_version(path, known.get(name, [])):
                if unit_of(name) == "results":
                    raise FileExistsError(changed_text(path))
                set_aside(self.out, name)
        try:
            for unit, files in units.items():
                self._record(unit, files)
            for name in instead_of:
                _delete(self.out, name, known.get(name, []))
            for name, (path, _) in self.files.items():
                self.move(path, inside(self.out, name))
        except OSError as error:
            raise _failed(self.out, error) from None

    def _record(self, unit: str, files: dict[str, Version]) -> None:
        known = recorded(self.out, unit)
        for name, version in files.items():
            others = [each for each in known.get(name, []) if each != version]
            known[name] = [version, *others][:VERSIONS]
        text = json.dumps({"files": known})
        self.move(self.write_aside("record", text, True), inside(self.out, f"{HIDDEN}/written/{unit}.json"))

    def move(self, path: Path, target: Path) -> None:
        if is_remote(target):
            return upload(path, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)


@contextlib.contextmanager
def staging(out: Path) -> Iterator[Staging]:
    """A folder to write files aside for `out`; what was not put in place goes with it."""
    if is_remote(out):
        with tempfile.TemporaryDirectory() as folder:
            yield Staging(out, Path(folder))
        return
    name = f"{HIDDEN}/temporary/{secrets.token_hex(8)}"
    folder = inside(out, name)
    folder.mkdir(parents=True)
    try:
        yield Staging(out, folder)
    finally:
        with contextlib.suppress(OSError):
            _delete(out, name, None)


def write(out: Path, name: str, content: Content) -> None:
    """Puts one file into `out`, whole. OSError with a sentence."""
    with staging(out) as stage:
        stage.add(name, content)
        stage.place()


def write_all(out: Path, contents: dict[str, Content], sync: bool = True) -> None:
    """Puts several files into `out`, each whole, in their order. OSError with a sentence."""
    with staging(out) as stage:
        for name, content in contents.items():
            stage.add(name, content, sync)
        stage.place()


def write_scratch(out: Path, name: str, text: str) -> None:
    """Puts a file into `.multimap`, whole, by its name there. OSError with a sentence."""
    if not SCRATCH.fullmatch(name):
        raise ValueError(f"{name} is no name of a file that multimap needs while it is at work")
    with staging(out) as stage:
        try:
            stage.move(stage.write_aside("scratch", text, sync=False), inside(out, f"{HIDDEN}/{name}"))
        except OSError as error:
            raise _failed(out / HIDDEN / name, error) from None


def recorded(out: Path, unit: str) -> dict[str, list[Version]]:
    """What was written of a unit, {} where nothing is known. Names of another unit are left out."""
    found: dict[str, list[Version]] = {}
    try:
        content = read_json(inside(out, f"{HIDDEN}/written/{unit}.json"), most=RECORD_BYTES)["files"]
        for name, versions in content.items():
            if unit_of(name) == unit:
                found[name] = [(int(size), str(digest)) for size, digest in versions]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return {}
    return found


def units(out: Path, beginning: str) -> list[str]:
    """The units that were written and whose names begin so."""
    with reaching(out):
        there = inside(out, f"{HIDDEN}/written").glob("*.json")
        names = [path.name.removesuffix(".json") for path in there]
    return sorted(name for name in names if name.startswith(beginning) and UNIT.fullmatch(name))


def is_ours(out: Path, name: str) -> bool:
    """Whether nothing is there, or what multimap wrote."""
    path = inside(out, name)
    return not exists(path) or _is_version(path, recorded(out, unit_of(name)).get(name, []))


def changed_text(path: Path) -> str:
    return f"{path} was not written by multimap, or was changed since: move it away, or give another folder with --out"


def delete(out: Path, unit: str) -> list[str]:
    """Takes away the files of a unit that are as they were written; returns those that are not, and stay."""
    stay = [name for name, versions in recorded(out, unit).items() if not _delete(out, name, versions)]
    if not stay:
        _delete(out, f"{HIDDEN}/written/{unit}.json", None)
    return stay


def prune(out: Path, beginning: str, kept: str) -> None:
    """Takes away the units whose names begin so, but for one."""
    for unit in units(out, beginning):
        if unit != kept:
            delete(out, unit)


def discard(out: Path, name: str) -> None:
    """Takes away what a run needed only while it was at work, by its name below `.multimap`."""
    _delete(out, f"{HIDDEN}/{name}", None)


def sweep(out: Path) -> None:
    """Takes away what a run that was killed had not finished, and where its processes met."""
    hidden = inside(out, HIDDEN)
    for path in [*hidden.glob("group-*"), *(() if is_remote(out) else hidden.glob("temporary/*"))]:
        with contextlib.suppress(OSError, ValueError):
            discard(out, path.relative_to(hidden).as_posix() if not is_remote(out) else path.name)


def tidy(out: Path) -> None:
    """Takes away the folder of temporary files, and ours, where nothing is in them."""
    if not is_remote(out):
        _without(out / HIDDEN / "temporary")
        _without(out / HIDDEN)


def set_aside(out: Path, name: str) -> Path:
    """Gives a file that stands in the way, or is damaged, another name beside its own; returns that."""
    path = inside(out, name)
    aside = path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}")
    if is_remote(path):
        with reaching(path):
            path.fs.mv(path.path, aside.path)
    else:
        path.rename(aside)
    return aside


def _delete(out: Path, name: str, versions: list[Version] | None) -> bool:
    """Takes away one file below `out`, and its folder where nothing is left in it: only here --out loses something.

    Returns whether it is gone. It stays where it has no name of ours, is behind a link, or is none of `versions`.

    versions: None for what lies below `.multimap`, where all is ours.
    """
    scratch = name.removeprefix(f"{HIDDEN}/") if name.startswith(f"{HIDDEN}/") else None
    if scratch is None:
        known = unit_of(name) is not None and versions is not None
    else:
        known = bool(SCRATCH.fullmatch(scratch) or re.fullmatch(rf"written/{UNIT.pattern}\.json", scratch))
    if not known:
        return False
    folder, _, last = name.rpartition("/")
    path = (inside(out, folder) if folder else out) / last
    if is_remote(path):
        return not exists(path) or _delete_object(path, versions)
    if not os.path.lexists(path):
        return True
    if scratch is not None and path.is_dir() and not path.is_symlink():
        gone = [_delete(out, f"{name}/{each.name}", None) for each in path.iterdir()]
        return all(gone) and _without(path)
    if scratch is None and not (stat.S_ISREG(path.lstat().st_mode) and _is_version(path, versions)):
        return False
    path.unlink()  # of a link not what it leads to
    if scratch is None and "/" in name:
        _without(path.parent)
    return True


def _delete_object(path, versions: list[Version] | None) -> bool:
    with reaching(path):
        if versions is None:
            path.fs.rm(path.path, recursive=True)
        elif _is_version(path, versions):
            path.fs.rm_file(path.path)
        else:
            return False
    return True


def _without(folder: Path) -> bool:
    """Takes away a folder that is empty."""
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()


def file_version(path: Path) -> Version:
    with open_file(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return path.stat().st_size, digest


def _is_version(path: Path, versions: list[Version]) -> bool:
    if is_remote(path):
        with reaching(path):
            return path.fs.info(path.path)["size"] in [size for size, _ in versions]
    try:
        size = path.lstat().st_size
        return any(size == known for known, _ in versions) and file_version(path) in versions
    except ValueError:  # no regular file
        return False


def _failed(path: Path, error: OSError) -> OSError:
    """With a sentence, unless it is one."""
    if error.errno is None and error.strerror is None:
        return error
    reason = error_text(error) if is_remote(path) else error.strerror or str(error)
    return type(error)(f"cannot write {path} ({reason}); {GO_ON}")
