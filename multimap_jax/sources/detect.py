"""What `--images` may be: a folder, a list, tables with images in them, tar shards."""

from __future__ import annotations

from pathlib import Path

from multimap_jax.runtime.progress import stage
from multimap_jax.sources.folder import read_folder
from multimap_jax.sources.source import Source, files_of
from multimap_jax.sources.tables import read_list, read_parquet
from multimap_jax.sources.tars import read_tars
from multimap_jax.storage.paths import is_remote

READERS = {".tar": read_tars, ".parquet": read_parquet, ".csv": read_list, ".tsv": read_list}
COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar")


def is_folder(file: Path) -> bool:
    """Of a store, which is not asked for each of many: what has none of the known endings."""
    return file.suffix.lower() not in (*READERS, *COMPRESSED) if is_remote(file) else file.is_dir()


@stage("looking for images")
def open_source(place: Path, addresses: bool = True) -> Source:
    """The images of a folder, of a csv or parquet file with a column of paths, of parquet files with a column of
    images, or of tar files; several files by a pattern such as shards/{00000..00031}.tar or data/*.parquet.

    addresses: whether addresses that a list holds are followed; AddressError where they are not.

    Raises FileNotFoundError, NotADirectoryError or ValueError, each with a sentence, where there are none.
    """
    files = files_of(place)
    if not files:
        raise FileNotFoundError(f"there is no folder {place}, nor files of that pattern")
    endings = {"/" if is_folder(file) else file.suffix.lower() for file in files}
    if len(endings) > 1:
        raise ValueError(f"{place} names files of several kinds ({', '.join(sorted(endings))}): give one kind at once")
    ending = endings.pop()
    if ending == "/":
        if len(files) > 1:
            raise ValueError(f"{place} names {len(files):,} folders: give the folder that they are in")
        return read_folder(files[0])
    if ending in COMPRESSED:
        raise ValueError(f"{files[0]} is compressed, where images are not read one by one: unpack it, or give a .tar")
    if ending not in READERS:
        raise NotADirectoryError(
            f"{files[0]} is a file, expected a folder of images, a list (.csv, .parquet), tables with images "
            "(.parquet) or .tar files"
        )
    return READERS[ending](place, files, addresses)
