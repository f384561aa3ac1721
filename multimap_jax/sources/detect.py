"""The kinds of sources that hold images, and which one a path is.

A new kind is a file of this room with a reader, and a line in READERS. Ready embeddings hold no images: see
`words.word_sources.embeddings.read_embeddings`.
"""

from __future__ import annotations

from pathlib import Path

from multimap_jax.errors import InputError, MissingError, NotFolderError, errors_about
from multimap_jax.runtime.progress import stage
from multimap_jax.sources.folder import read_folder
from multimap_jax.sources.source import Source, files_of
from multimap_jax.sources.tables import read_tables
from multimap_jax.sources.tars import read_tars
from multimap_jax.storage.paths import storage_of

FOLDER = "/"
# Ending -> (what was given, its files, whether addresses in lists are followed) -> Source.
READERS = {FOLDER: read_folder, ".tar": read_tars, ".parquet": read_tables, ".csv": read_tables, ".tsv": read_tables}
COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar")


def is_folder(file: Path) -> bool:
    """A store is not asked about each of many objects: what has no known ending is a folder there."""
    known = storage_of(file).is_folder(file)
    return file.suffix.lower() not in (*READERS, *COMPRESSED) if known is None else known


@errors_about("images")
@stage("looking for images")
def open_source(path: Path, addresses: bool = True) -> Source:
    """The images of a folder, of a csv or parquet file with a column of paths, of parquet files with a column of
    images, or of tar files; several files by a pattern such as shards/{00000..00031}.tar or data/*.parquet.

    addresses: whether addresses that a list holds are followed; AddressError where they are not.

    Raises InputError, with a sentence, where there are no images: a MissingError where nothing is there.
    """
    files = files_of(path)
    if not files:
        raise MissingError(f"there is no folder {path}, nor files of that pattern")
    endings = {FOLDER if is_folder(file) else file.suffix.lower() for file in files}
    if len(endings) > 1:
        kinds = ", ".join(sorted(endings))
        raise InputError(f"{path} names files of several kinds ({kinds}): give one kind at once")
    (ending,) = endings
    if ending in COMPRESSED and ending not in READERS:
        raise InputError(
            f"{files[0]} is compressed, so that images cannot be read one by one: unpack it, or give a .tar"
        )
    if ending not in READERS:
        raise NotFolderError(
            f"{files[0]} is a file, expected a folder of images, a list (.csv, .parquet), tables with images "
            "(.parquet) or .tar files"
        )
    return READERS[ending](path, files, addresses)
