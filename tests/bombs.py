"""Files that are little and would become much: what readers make of them is bounded."""

import io
import tarfile
from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def repeated(text: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))


def packed_table(**columns) -> bytes:
    """A table that takes little, and as many bytes as it has rows."""
    file = io.BytesIO()
    rows = len(next(iter(columns.values())))
    table = pa.table(columns | {"fill": np.random.default_rng(0).random(rows)})
    pq.write_table(table, file, compression="zstd", dictionary_pagesize_limit=2**26)
    return file.getvalue()


def sparse_member(name: str, size: int) -> bytes:
    """A header of a text that is all hole."""
    member = tarfile.TarInfo(name)
    member.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[386:398] = header[483:495] = b"%011o\0" % size
    header[398:410] = b"%011o\0" % 0
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def claiming_member(name: str, size: int) -> bytes:
    """A text of one byte that says it is longer, so that what stands behind it would be read again and again."""
    member = tarfile.TarInfo(name)
    member.size, member.pax_headers = 1, {"GNU.sparse.realsize": str(size)}
    return member.tobuf(tarfile.PAX_FORMAT) + b"x".ljust(512, b"\0")


def pictures_of(rows: int, path: str) -> pa.StructArray:
    return pa.StructArray.from_arrays([pa.array([b"x"] * rows), pa.array([path] * rows)], ["bytes", "path"])


ROWS_OF_BOMBS = 1000
BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "sparse texts in a tar": ("tar", lambda: tar_of(sparse_member(f"{i}.txt", 2**20) for i in range(1000))),
    "texts in a tar that claim more": ("tar", lambda: tar_of(claiming_member(f"{i}.txt", 2**20) for i in range(1000))),
    "one path for all rows": ("table", lambda: packed_table(path=repeated("x" * 2**20, ROWS_OF_BOMBS))),
    "one text beside all rows": (
        "table",
        lambda: packed_table(path=list(map(str, range(ROWS_OF_BOMBS))), text=repeated("x" * 2**20, ROWS_OF_BOMBS)),
    ),
    "one path beside the bytes of all rows": ("table", lambda: packed_table(image=pictures_of(500, "x" * 2**20))),
    "one name for all embeddings": ("names", lambda: packed_table(path=repeated("x" * 2**20, ROWS_OF_BOMBS))),
    "one version for all of a plan": (
        "plan",
        lambda: packed_table(
            name=list(map(str, range(ROWS_OF_BOMBS))),
            version=repeated("x" * 2**20, ROWS_OF_BOMBS),
            piece=[0] * ROWS_OF_BOMBS,
        ),
    ),
    "a list of many columns and short rows": (
        "list",
        lambda: b"path," + b",".join(b"%d" % i for i in range(9000)) + b"\n" + b"a\n" * 20_000,
    ),
    "a list of more columns": ("list", lambda: b"path" + b"," * 500_000 + b"\n" + b"a\n" * 20_000),
    "many labels of other images": (
        "labels",
        lambda: b"image,color\n" + b"\n".join(b"%07d" % i for i in range(400_000)),
    ),
    "JSON of empty lists": ("json", lambda: b'{"a":[' + b"[]," * 4_000_000 + b"1]}"),
}


def tar_of(members: Iterable[bytes]) -> bytes:
    """A tar with an image, and members as they are written."""
    member, image = tarfile.TarInfo("a.png"), io.BytesIO()
    Image.new("RGB", (9, 9)).save(image, "PNG")
    member.size = len(image.getvalue())
    image = image.getvalue() + bytes(-member.size % 512)
    return member.tobuf(tarfile.GNU_FORMAT) + image + b"".join(members) + bytes(1024)


def bombs(reader: str) -> tuple[bytes, ...]:
    return tuple(make() for name, make in BOMBS.values() if name == reader)
