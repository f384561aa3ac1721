"""The kinds of image sources, and which one a path is.

To add a kind, write a module in this folder with a reader and add a line to READERS. Ready embeddings hold no images:
see `sources.embeddings.read_embeddings`.
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
# Extension -> a function of (the given path, its files, whether to follow addresses in lists) that returns a Source.
READERS = {FOLDER: read_folder, ".tar": read_tars, ".parquet": read_tables, ".csv": read_tables, ".tsv": read_tables}
COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar")


def is_folder(file: Path) -> bool:
    """Whether a path is a folder. In a store, any path without a known extension counts as one, because asking the
    store about each of many objects would be slow."""
    known = storage_of(file).is_folder(file)
    return file.suffix.lower() not in (*READERS, *COMPRESSED) if known is None else known


@errors_about("images")
@stage("looking for images")
def open_source(path: Path, addresses: bool = True) -> Source:
    """Opens the images of a folder, a csv or parquet file with a column of paths, parquet files with a column of
    images, or tar files. A pattern such as shards/{00000..00031}.tar or data/*.parquet names several files.

    Args:
      addresses: whether to follow addresses in a list; if False, they raise AddressError.

    Raises:
      InputError: there are no images; MissingError if the path does not exist.
    """
    files = files_of(path)
    if not files:
        raise MissingError(f"there is no folder {path}, and no file matches it")
    endings = {FOLDER if is_folder(file) else file.suffix.lower() for file in files}
    if len(endings) > 1:
        kinds = ", ".join(sorted(endings))
        raise InputError(f"{path} matches files of several kinds ({kinds}): give files of one kind")
    (ending,) = endings
    if ending in COMPRESSED and ending not in READERS:
        raise InputError(
            f"{files[0]} is compressed, so its images cannot be read one by one: unpack it, or give a .tar file"
        )
    if ending not in READERS:
        raise NotFolderError(
            f"{files[0]} is a file of an unsupported kind, expected a folder of images, a list of paths (.csv, .tsv, "
            ".parquet), a table of images (.parquet) or .tar files"
        )
    return READERS[ending](path, files, addresses)
