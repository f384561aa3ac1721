"""The folder --out: how files are written into it, how multimap recognises its own files, and the only function that
deletes them.

    .multimap/                     in every folder that multimap writes; skipped when images are read
    .multimap/temporary/HEX/       files that are being written
    .multimap/written/UNIT.json    size and SHA-256 of the files of a unit (a model, a shard, results), written first
    .multimap/lock-0-of-1          allows one run at a time
    .multimap/group-HEX/           messages between the processes of a run

The records, like the folder itself, may come from a stranger. A file is deleted only if its name has a form declared
here, there is no link on the way to it below the folder, and its size and SHA-256 are as written (for an object in a
store, its size). Everything else stays.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from multimap_jax.errors import InputError, InputExistsError, InputOSError
from multimap_jax.storage.filenames import reason_text
from multimap_jax.storage.local import Content, Version, file_version, sha256, write_bytes, write_content
from multimap_jax.storage.markers import THUMBNAILS
from multimap_jax.storage.paths import exists, reaching, storage_of
from multimap_jax.storage.reading import read_json

HIDDEN = ".multimap"
GO_ON = "finished work is kept: run the same command again to continue"
# The result files of the last command, complete.
LABELS = "labels.csv"
LABELS_TABLE = "labels.parquet"
METRICS = "metrics.json"
REPORT = "report.html"
RUN = "run.json"
GROUPS = "groups.json"  # only in a run whose groups were edited
RESULTS = (LABELS, LABELS_TABLE, METRICS, REPORT, GROUPS)

MODEL = "[a-z0-9-]{1,32}-[0-9a-f]{8}-[0-9a-f]{12}"
PROXIES = "[a-z0-9-]{1,32}-[0-9a-f]{16}"
NUMBER = "[0-9]{6,9}"
# The names of multimap's files, and the unit of each. The files of a unit are recorded and deleted together.
NAME_FORMS = {
    "|".join(map(re.escape, (*RESULTS, RUN))): "results",
    rf"models/({MODEL})/(?:model\.json|arrays\.npz)": "models+{1}",
    rf"({THUMBNAILS.pattern})/[0-9]{{1,9}}\.jpg": "{1}",
    rf"plan/plan_({NUMBER})\.parquet": "plan+{1}",
    r"embeddings/encoder\.json": "embeddings+encoder",
    rf"embeddings/(img_emb|metadata|skipped|thumbnails)/\1_({NUMBER})\.(?:npy|npz|parquet)": "embeddings+{2}",
    rf"proxies/({PROXIES})/(key|(?:plan|proxies)_{NUMBER})\.(?:json|parquet|npz)": "proxies+{1}+{2}",
    rf"answers/({PROXIES})/((?:plan|answers)_{NUMBER})\.parquet": "answers+{1}+{2}",
    r"words/words-([0-9a-f]{32})\.json": "words+{1}",
}
UNIT = re.compile(r"[a-z0-9+_-]{1,100}")
# Files below HIDDEN that are needed only during a run.
SCRATCH = re.compile(
    r"temporary/[0-9a-f]{16}(/[\w.-]{1,100})?|group-[0-9a-f]{16}(/[\w.-]{1,100})?|lock-\d{1,9}-of-\d{1,9}(\.\w{1,20}){0,4}"
)
RECORD_BYTES = 2**26  # maximum bytes of a record
VERSIONS = 4  # versions of a file in a record: the old one stays while the next is written, and a run may be killed


def unit_of(name: str) -> str | None:
    """The unit of a file by its name below --out, None if multimap has no file of that name."""
    for form, unit in NAME_FORMS.items():
        if found := re.fullmatch(form, name):
            return unit.format(found[0], *found.groups())
    return None


def inside(out: Path, name: str) -> Path:
    """The path of `name` below `out`. InputError if there is a link on the way."""
    path = out
    for folder_or_file in name.split("/"):
        path = path / folder_or_file
        if path.is_symlink():
            raise InputError(f"{path} is a link, and multimap does not write through links: give another folder", "out")
    return path


def prepare_folder(out: Path) -> None:
    """Creates the folder `out` and tests it. InputError or InputOSError if it is not writable."""
    if out.is_symlink() and not out.exists():
        raise InputError(f"{out} is a broken link: give another folder", "out")
    try:
        storage_of(out).check_writable(inside(out, HIDDEN))
    except OSError as error:
        raise unwritable(out, error) from None


def unwritable(out: Path, error: OSError) -> OSError:
    """The error for a folder that refuses a write, with the number and the reason of the system's `error`."""
    found = InputOSError(f"cannot write into {out} ({reason_text(error)}): give another folder", "out")
    found.errno, found.strerror = error.errno, error.strerror
    return found


class Staging:
    """Files that are first written to `folder`, then moved into `out` in the order in which they were added."""

    def __init__(self, out: Path, folder: Path):
        self.out, self.folder = out, folder
        self.files: dict[str, tuple[Path, Version]] = {}

    def add(self, name: str, content: Content, sync: bool = True) -> None:
        """Writes one file to the staging folder; OSError with a message for the user."""
        if unit_of(name) is None:
            raise ValueError(f"{name} is not the name of a file that multimap writes")
        with explained_writing(self.out / name):
            self.adopt(name, self.write_aside(str(len(self.files)), content, sync))

    def adopt(self, name: str, path: Path) -> None:
        """Adds a file that is already in the staging folder."""
        self.files[name] = path, file_version(path)

    def write_aside(self, name: str, content: Content, sync: bool) -> Path:
        path = self.folder / name
        with path.open("wb") as file:
            write_content(file, content, sync)
        return path

    def put_record(self, unit: str | None, record: Mapping[str, Sequence[Version]]) -> None:
        """Puts the record of a unit in place: its files, each with the versions that it may have."""
        aside = self.write_aside("record", json.dumps({"files": record}), True)
        storage_of(self.out).put(aside, inside(self.out, f"{HIDDEN}/written/{unit}.json"))

    def commit(self, instead_of: Iterable[str] = ()) -> None:
        """Moves all files into place, each atomically. instead_of: results to remove before the first file is moved.

        Raises FileExistsError if results would replace a file that is not as multimap wrote it; any other file in the
        way is renamed. OSError as in `add`.
        """
        put = storage_of(self.out).put
        records = {unit: recorded(self.out, unit) for unit in dict.fromkeys(map(unit_of, self.files))}
        known = {name: versions for record in records.values() for name, versions in record.items()}
        for name in self.files:
            path = inside(self.out, name)
            if exists(path) and not storage_of(path).has_version(path, known.get(name, [])):
                if unit_of(name) == "results":
                    raise InputExistsError(changed_text(path), "out")
                set_aside(self.out, name)
        with explained_writing(self.out):
            for name, (_, version) in self.files.items():
                earlier = [other for other in known.get(name, []) if other != version]
                records[unit_of(name)][name] = [version, *earlier][:VERSIONS]
            for unit, record in records.items():
                self.put_record(unit, record)
            for name in instead_of:
                _delete(self.out, name, known.get(name, []))
            for name, (path, _) in self.files.items():
                put(path, inside(self.out, name))


@contextlib.contextmanager
def staging(out: Path) -> Iterator[Staging]:
    """A temporary folder in which to write files for `out`; files that were not moved are deleted with it."""
    name = f"{HIDDEN}/temporary/{secrets.token_hex(8)}"
    path = inside(out, name)
    with storage_of(out).working_folder(path) as folder:
        try:
            yield Staging(out, folder)
        finally:
            if folder == path:
                with contextlib.suppress(OSError):
                    _delete(out, name, None)


@contextlib.contextmanager
def explained_writing(path: Path) -> Iterator[None]:
    """A context that gives an OSError a message for the user, unless it has one."""
    try:
        yield
    except OSError as error:
        if error.errno is None and error.strerror is None:
            raise
        raise type(error)(f"cannot write {path} ({reason_text(error)}); {GO_ON}") from None


def write(out: Path, name: str, content: Content) -> None:
    """Writes one file into `out` atomically. OSError with a message for the user."""
    write_all(out, {name: content})


def write_all(out: Path, contents: Mapping[str, Content], sync: bool = True) -> None:
    """Writes several files into `out` in order, each atomically. OSError with a message for the user."""
    with staging(out) as stage:
        for name, content in contents.items():
            stage.add(name, content, sync)
        stage.commit()


def write_folder(out: Path, folder: str, contents: Mapping[str, bytes]) -> None:
    """Writes a new folder with these files into `out`, on this machine in one step. OSError with a message for the
    user."""
    versions = {f"{folder}/{name}": [(len(content), sha256(content))] for name, content in contents.items()}
    if any(unit_of(name) != folder for name in versions):
        raise ValueError(f"{folder} is not a folder that multimap writes")
    path = inside(out, folder)
    with staging(out) as recording, staging(out) as stage, explained_writing(path):
        for name, content in contents.items():
            write_bytes(stage.folder / name, content)
        recording.put_record(folder, versions)
        storage_of(out).put_folder(stage.folder, path)


def write_scratch(out: Path, name: str, text: str) -> None:
    """Writes a file of this name into `.multimap` atomically. OSError with a message for the user."""
    if not SCRATCH.fullmatch(name):
        raise ValueError(f"{name} is not the name of a file that multimap needs during a run")
    path = inside(out, f"{HIDDEN}/{name}")
    with explained_writing(path):
        storage_of(path).write(path, text)


def recorded(out: Path, unit: str | None) -> dict[str, list[Version]]:
    """The recorded files of a unit, {} if there is no record. Leaves out names that belong to another unit."""
    found: dict[str, list[Version]] = {}
    try:
        content = read_json(inside(out, f"{HIDDEN}/written/{unit}.json"), limit=RECORD_BYTES)["files"]
        for name, versions in content.items():
            if unit_of(name) == unit:
                found[name] = [(int(size), str(digest)) for size, digest in versions]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return {}
    return found


def units(out: Path, beginning: str) -> list[str]:
    """The recorded units whose names start with `beginning`."""
    with reaching(out):
        names = [path.name.removesuffix(".json") for path in inside(out, f"{HIDDEN}/written").glob("*.json")]
    return sorted(name for name in names if name.startswith(beginning) and UNIT.fullmatch(name))


def is_ours(out: Path, name: str) -> bool:
    """Whether the file does not exist, or is as multimap wrote it."""
    path = inside(out, name)
    return not exists(path) or storage_of(path).has_version(path, recorded(out, unit_of(name)).get(name, []))


def changed_text(path: Path) -> str:
    return f"{path} was not written by multimap, or was changed since: move the file, or give another folder"


def delete(out: Path, unit: str) -> list[str]:
    """Removes the files of a unit that are as written; returns the changed ones, which stay."""
    stay = [name for name, versions in recorded(out, unit).items() if not _delete(out, name, versions)]
    if not stay:
        _delete(out, f"{HIDDEN}/written/{unit}.json", None)
    return stay


def prune(out: Path, beginning: str, kept: str) -> None:
    """Removes the units whose names start with `beginning`, except `kept`."""
    for unit in units(out, beginning):
        if unit != kept:
            delete(out, unit)


def discard(out: Path, name: str) -> None:
    """Removes a file or folder that was needed only during a run, by its name below `.multimap`."""
    _delete(out, f"{HIDDEN}/{name}", None)


def sweep(out: Path) -> None:
    """Removes the unfinished files of killed runs, and the folders where their processes exchanged messages."""
    hidden = inside(out, HIDDEN)
    for folder, names in (("", "group-*"), ("temporary/", "*")):
        for path in hidden.glob(folder + names):
            with contextlib.suppress(OSError, ValueError):
                discard(out, f"{folder}{path.name}")


def tidy(out: Path) -> None:
    """Removes the folder of temporary files and `.multimap` if they are empty."""
    for folder in (out / HIDDEN / "temporary", out / HIDDEN):
        storage_of(out).remove_empty(folder)


def set_aside(out: Path, name: str) -> Path:
    """Renames a file that is damaged or in the way; returns its new path."""
    path = inside(out, name)
    aside = path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}")
    with reaching(path):
        path.rename(aside)
    return aside


def _delete(out: Path, name: str, versions: list[Version] | None) -> bool:
    """Removes one file below `out`, and its folder if that is empty then. Nothing else deletes files in --out.

    Returns whether it is gone. It stays if its name is not one of multimap's or it has none of `versions`.

    versions: None for files below `.multimap`, which all belong to multimap.
    """
    is_scratch = name.startswith(f"{HIDDEN}/")
    if is_scratch:
        below = name.removeprefix(f"{HIDDEN}/")
        declared = bool(SCRATCH.fullmatch(below) or re.fullmatch(rf"written/{UNIT.pattern}\.json", below))
    else:
        declared = unit_of(name) is not None and versions is not None
    if not declared:
        return False
    folder, _, last = name.rpartition("/")
    path, storage = (inside(out, folder) if folder else out) / last, storage_of(out)
    if not exists(path) and not path.is_symlink():
        return True
    if is_scratch and path.is_dir() and not path.is_symlink():
        gone = [_delete(out, f"{name}/{file.name}", None) for file in path.iterdir()]
        return all(gone) and storage.remove_empty(path)
    if not is_scratch and not storage.has_version(path, versions or ()):
        return False
    storage.remove(path)  # a link itself, not its target
    if not is_scratch and folder:
        storage.remove_empty(path.parent)
    return True
