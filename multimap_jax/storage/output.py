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
import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from multimap_jax.errors import InputError, InputExistsError, InputOSError
from multimap_jax.storage.filenames import reason_text
from multimap_jax.storage.local import Content, Version, file_version, write_content
from multimap_jax.storage.markers import THUMBNAILS
from multimap_jax.storage.paths import exists, reaching, storage_of
from multimap_jax.storage.reading import read_json

HIDDEN = ".multimap"
GO_ON = "what was finished is kept, and the same command goes on from there"
# The files of results: what the last command asked for, whole.
LABELS = "labels.csv"
LABELS_TABLE = "labels.parquet"
METRICS = "metrics.json"
REPORT = "report.html"
RUN = "run.json"
GROUPS = "groups.json"  # of a run whose groups were edited
RESULTS = (LABELS, LABELS_TABLE, METRICS, REPORT, GROUPS)

MODEL = "[a-z0-9-]{1,32}-[0-9a-f]{8}-[0-9a-f]{12}"
PROXIES = "[a-z0-9-]{1,32}-[0-9a-f]{16}"
NUMBER = "[0-9]{6,9}"
# The names that files of ours have, and the unit that each belongs to: what is recorded and deleted together.
NAME_FORMS = {
    "|".join(map(re.escape, (*RESULTS, RUN))): "results",
    rf"models/({MODEL})/(?:model\.json|arrays\.npz)": r"models+\1",
    rf"({THUMBNAILS.pattern})/[0-9]{{1,9}}\.jpg": r"\1",
    rf"plan/plan_({NUMBER})\.parquet": r"plan+\1",
    r"embeddings/encoder\.json": "embeddings+encoder",
    rf"embeddings/(img_emb|metadata|skipped)/\1_({NUMBER})\.(?:npy|parquet)": r"embeddings+\2",
    rf"proxies/({PROXIES})/(key|(?:plan|proxies)_{NUMBER})\.(?:json|parquet|npz)": r"proxies+\1+\2",
    r"words/words-([0-9a-f]{32})\.json": r"words+\1",
}
UNIT = re.compile(r"[a-z0-9+_-]{1,100}")
# What is only needed while a run is at work, below HIDDEN.
SCRATCH = re.compile(
    r"temporary/[0-9a-f]{16}(/[\w.-]{1,100})?|group-[0-9a-f]{16}(/[\w.-]{1,100})?|lock-\d{1,9}-of-\d{1,9}(\.\w{1,20}){0,4}"
)
RECORD_BYTES = 2**26  # of one record
VERSIONS = 4  # of a file in a record: the one that is there while the next one comes, also after runs that were killed


def unit_of(name: str) -> str | None:
    """The unit of a file by its name below --out, None for a name that no file of ours has."""
    matches = ((re.fullmatch(form, name), unit) for form, unit in NAME_FORMS.items())
    return next((found.expand(unit) for found, unit in matches if found), None)


def inside(out: Path, name: str) -> Path:
    """The path of `name` below `out`. InputError where a link stands on the way."""
    path = out
    for folder_or_file in name.split("/"):
        path = path / folder_or_file
        if path.is_symlink():
            raise InputError(f"{path} is a link, which nothing is written or deleted through: give another one", "out")
    return path


def prepare_folder(out: Path) -> None:
    """Creates the folder `out` and tries it. InputError or InputOSError where it cannot be written."""
    if out.is_symlink() and not out.exists():
        raise InputError(f"{out} is a link that leads to nothing: give another folder", "out")
    try:
        storage_of(out).check_writable(inside(out, HIDDEN))
    except OSError as error:
        raise unwritable(out, error) from None


def unwritable(out: Path, error: OSError) -> OSError:
    return InputOSError(f"cannot write into {out} ({reason_text(error)}): give another folder", "out")


class Staging:
    """Files that are written aside, in `folder`, and then put into `out`, in the order in which they came."""

    def __init__(self, out: Path, folder: Path):
        self.out, self.folder = out, folder
        self.files: dict[str, tuple[Path, Version]] = {}

    def add(self, name: str, content: Content, sync: bool = True) -> None:
        """Writes one file aside; OSError with a sentence."""
        if unit_of(name) is None:
            raise ValueError(f"{name} is no name of a file that multimap writes")
        with explained_writing(self.out / name):
            self.adopt(name, self.write_aside(str(len(self.files)), content, sync))

    def adopt(self, name: str, path: Path) -> None:
        """A file that lies aside already."""
        self.files[name] = path, file_version(path)

    def write_aside(self, name: str, content: Content, sync: bool) -> Path:
        path = self.folder / name
        with path.open("wb") as file:
            write_content(file, content, sync)
        return path

    def commit(self, instead_of: Iterable[str] = ()) -> None:
        """Puts all files in place, each whole. instead_of: results that go before the first new one comes.

        Raises FileExistsError where results would replace a file that is not as multimap wrote it; another file in the
        way is set aside. OSError as `add`.
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
                aside = self.write_aside("record", json.dumps({"files": record}), True)
                put(aside, inside(self.out, f"{HIDDEN}/written/{unit}.json"))
            for name in instead_of:
                _delete(self.out, name, known.get(name, []))
            for name, (path, _) in self.files.items():
                put(path, inside(self.out, name))


@contextlib.contextmanager
def staging(out: Path) -> Iterator[Staging]:
    """A folder to write files aside for `out`; what was not put in place goes with it."""
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
    """Within this context an OSError gets a sentence, unless it is one."""
    try:
        yield
    except OSError as error:
        if error.errno is None and error.strerror is None:
            raise
        raise type(error)(f"cannot write {path} ({reason_text(error)}); {GO_ON}") from None


def write(out: Path, name: str, content: Content) -> None:
    """Puts one file into `out`, whole. OSError with a sentence."""
    write_all(out, {name: content})


def write_all(out: Path, contents: Mapping[str, Content], sync: bool = True) -> None:
    """Puts several files into `out`, each whole, in their order. OSError with a sentence."""
    with staging(out) as stage:
        for name, content in contents.items():
            stage.add(name, content, sync)
        stage.commit()


def write_scratch(out: Path, name: str, text: str) -> None:
    """Puts a file into `.multimap`, whole, by its name there. OSError with a sentence."""
    if not SCRATCH.fullmatch(name):
        raise ValueError(f"{name} is no name of a file that multimap needs while it is at work")
    path = inside(out, f"{HIDDEN}/{name}")
    with explained_writing(path):
        storage_of(path).write(path, text)


def recorded(out: Path, unit: str | None) -> dict[str, list[Version]]:
    """What was written of a unit, {} where nothing is known. Names of another unit are left out."""
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
    """The units that were written and whose names begin so."""
    with reaching(out):
        names = [path.name.removesuffix(".json") for path in inside(out, f"{HIDDEN}/written").glob("*.json")]
    return sorted(name for name in names if name.startswith(beginning) and UNIT.fullmatch(name))


def is_ours(out: Path, name: str) -> bool:
    """Whether nothing is there, or what multimap wrote."""
    path = inside(out, name)
    return not exists(path) or storage_of(path).has_version(path, recorded(out, unit_of(name)).get(name, []))


def changed_text(path: Path) -> str:
    return f"{path} was not written by multimap, or was changed since: move it away, or give another folder"


def delete(out: Path, unit: str) -> list[str]:
    """Removes the files of a unit that are as they were written; returns those that are not, and stay."""
    stay = [name for name, versions in recorded(out, unit).items() if not _delete(out, name, versions)]
    if not stay:
        _delete(out, f"{HIDDEN}/written/{unit}.json", None)
    return stay


def prune(out: Path, beginning: str, kept: str) -> None:
    """Removes the units whose names begin so, but for one."""
    for unit in units(out, beginning):
        if unit != kept:
            delete(out, unit)


def discard(out: Path, name: str) -> None:
    """Removes what a run needed only while it was at work, by its name below `.multimap`."""
    _delete(out, f"{HIDDEN}/{name}", None)


def sweep(out: Path) -> None:
    """Removes what a run that was killed had not finished, and where its processes met."""
    hidden = inside(out, HIDDEN)
    for folder, names in (("", "group-*"), ("temporary/", "*")):
        for path in hidden.glob(folder + names):
            with contextlib.suppress(OSError, ValueError):
                discard(out, f"{folder}{path.name}")


def tidy(out: Path) -> None:
    """Removes the folder of temporary files, and ours, where nothing is in them."""
    for folder in (out / HIDDEN / "temporary", out / HIDDEN):
        storage_of(out).remove_empty(folder)


def set_aside(out: Path, name: str) -> Path:
    """Renames a file that stands in the way, or is damaged; returns its new path."""
    path = inside(out, name)
    aside = path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}")
    with reaching(path):
        path.rename(aside)
    return aside


def _delete(out: Path, name: str, versions: list[Version] | None) -> bool:
    """Removes one file below `out`, and its folder where nothing is left in it: only here --out loses something.

    Returns whether it is gone. It stays where it has no name of ours, is behind a link, or is none of `versions`.

    versions: None for what lies below `.multimap`, where all is ours.
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
    storage.remove(path)  # of a link not what it leads to
    if not is_scratch and folder:
        storage.remove_empty(path.parent)
    return True
