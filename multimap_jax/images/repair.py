"""Makes copies of image files without damaged metadata, for a second attempt at decoding.

Damaged metadata should not cost a photograph whose pixels are intact. Viewers ignore what they cannot read, but Pillow
rejects the file, and its setting to ignore the damage applies to the whole process. The copies keep everything that
changes how pixels look: color transforms, transparency, palettes, and the orientation if it can be read.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Literal

# Chunks of a PNG to keep besides the critical ones, from all that affect pixels to none; texts with an orientation.
PNG_KEPT: tuple[set[bytes], ...] = ({b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT"}, {b"tRNS"}, set())
PNG_TEXTS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
WEBP_KEPT = {b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"}
# Tags of a TIFF that describe its pixels, by the specification and its supplements; 274 is the orientation.
TIFF_KEPT = {*range(254, 260), 262, 266, 273, *range(277, 280), 284, 292, 293, *range(317, 319), *range(320, 326)}
TIFF_KEPT |= {332, 334, 336, 338, 339, 347, *range(512, 522), *range(529, 533)}
ORIENTATION = 274
EXIF_BYTES = 2**16  # maximum bytes of truncated EXIF data
ENTRIES = 2**12  # maximum number of entries of a directory
END = b"\xff\xd9"  # the end marker of a JPEG
ZEROS = 2  # zero bytes at the end of a JPEG that may still be part of its last codes
# Appended to a JPEG: if pixels are missing, the result differs from that with an end marker alone. They contain no 255,
# which starts a marker. Their first bits differ, because only a few bits of the last code may be missing.
NOISES = tuple(bytes(i * step % 251 for i in range(1, 500)) for step in (0b01011011, 0b10110110, 0b11101100))


def repaired(content: bytes) -> Iterator[tuple[bytes, tuple[bytes, ...]]]:
    """Yields copies of a file that may be readable, those that keep most first, each with ends to try. All ends give
    the same pixels exactly if the copy has all of its pixels."""
    if content.startswith(b"\xff\xd8\xff"):
        yield from _jpeg(content)
        return
    for is_kind, copies in KINDS:
        if is_kind(content[:16]):
            yield from ((copy, (b"",)) for copy in copies(content) if copy != content)


def _jpeg(content: bytes) -> Iterator[tuple[bytes, tuple[bytes, ...]]]:
    for with_exif in (True, False):
        copy, frame, scans = _jpeg_segments(content, with_exif)
        if copy.find(END, scans) >= 0:
            if copy != content:
                yield copy, (b"",)
        elif _has_all_scans(copy, frame, scans):
            bare = copy.rstrip(b"\0")  # without padding: some programs allocate a file before they write it
            copy = (bare if len(copy) - len(bare) > ZEROS else copy).rstrip(b"\xff")  # without half of an end marker
            restart = _next_restart(copy)
            yield copy, (*(noise + restart + noise + END for noise in NOISES), END)


def _jpeg_segments(content: bytes, with_exif: bool) -> tuple[bytes, bytes, int]:
    """(a JPEG without the metadata before its first scan, its frame header, the position of the first scan)."""
    kept, frame, position = [content[:2]], b"", 2
    while position + 4 <= len(content) and content[position : position + 2] != b"\xff\xda":
        marker = content[position + 1]
        if content[position] != 0xFF or marker in (0, 1, 0xFF) or 0xD0 <= marker <= 0xD8:
            position += 1  # fill bytes and markers without a length
            continue
        stop = position + 2 + int.from_bytes(content[position + 2 : position + 4])
        body = content[position + 4 : stop]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            frame = body
        if _shows_in_pixels(marker, body) or (with_exif and marker == 0xE1 and body.startswith(b"Exif\0\0")):
            kept.append(content[position:stop])
        position = stop
    return b"".join([*kept, content[position:]]), frame, sum(map(len, kept))


def _shows_in_pixels(marker: int, body: bytes) -> bool:
    """Whether a segment affects pixels. Of the application segments only JFIF and Adobe do: they define the colors."""
    if marker == 0xE0:
        return body.startswith(b"JFIF\0") and len(body) >= 14
    if marker == 0xEE:
        return body.startswith(b"Adobe") and len(body) >= 12
    return not 0xE0 <= marker <= 0xEF and marker != 0xFE


def _has_all_scans(content: bytes, frame: bytes, begin: int) -> bool:
    """Whether the scans hold every coefficient of every component to its last bit. A progressive JPEG that was cut
    between two scans looks complete but is coarse."""
    done = set()
    for match in re.finditer(rb"\xff\xda..(.)", content[begin:], re.DOTALL):
        position, components = begin + match.end(), match[1][0]
        scan = content[position : position + 2 * components + 3]
        if len(scan) == 2 * components + 3 and scan[-1] & 15 == 0:
            done |= {(name, i) for name in scan[: 2 * components : 2] for i in range(scan[-3], min(scan[-2], 63) + 1)}
    return len(frame) > 5 and len(done) == 64 * frame[5]


def _next_restart(content: bytes) -> bytes:
    """The restart marker that would come next. Without it, missing pixels would decode as zeros with any end."""
    found = [content.rfind(bytes((0xFF, 0xD0 + i))) for i in range(8)]
    return bytes((0xFF, 0xD0 + ((found.index(max(found)) + 1) % 8 if max(found) >= 0 else 0)))


def _png(content: bytes) -> Iterator[bytes]:
    return (_png_chunks(content, kept) for kept in PNG_KEPT)


def _png_chunks(content: bytes, kept: set[bytes]) -> bytes:
    """A PNG with its critical chunks, and the chunks in `kept` with a valid checksum. Counts its frames again, because
    the chunk with their number may be damaged."""
    view, position, frames, begun = memoryview(content), 8, 0, None
    parts: list[bytes | memoryview] = [content[:8]]
    while position + 8 <= len(content):
        size, name = struct.unpack_from(">I4s", content, position)
        stop = position + 12 + size
        wanted = name in kept or (b"eXIf" in kept and content.startswith(PNG_TEXTS, position + 8))
        if name == b"acTL" and wanted:
            begun = begun or len(parts)
        elif not name[0] & 32 or (
            wanted and zlib.crc32(view[position + 4 : stop - 4]) == int.from_bytes(content[stop - 4 : stop])
        ):
            parts.append(view[position:stop])
            frames += name == b"fcTL"
        position = stop
    if begun and frames:
        body = b"acTL" + struct.pack(">II", frames, 0)
        parts.insert(begun, struct.pack(">I", 8) + body + struct.pack(">I", zlib.crc32(body)))
    return b"".join(parts)


def _webp(content: bytes) -> Iterator[bytes]:
    for kept in (WEBP_KEPT | {b"EXIF"}, WEBP_KEPT):
        parts, position = [], 12
        while position + 8 <= len(content):
            name, size = struct.unpack_from("<4sI", content, position)
            stop = position + 8 + size + size % 2
            if name == b"EXIF" and stop > len(content):  # the rest of it may still have the orientation
                size = min(size, EXIF_BYTES)
                body = content[position + 8 : position + 8 + size].ljust(size + size % 2, b"\0")
                parts += [name + size.to_bytes(4, "little") + body] if name in kept else []
            elif name in kept:
                parts.append(content[position:stop])
            position = stop
        if parts and parts[0].startswith(b"VP8X") and len(parts[0]) > 8:
            flags = parts[0][8] & ~0x2C | 8 * any(part.startswith(b"EXIF") for part in parts)  # ICC, EXIF and XMP
            parts[0] = parts[0][:8] + bytes((flags,)) + parts[0][9:]
        body = b"WEBP" + b"".join(parts)
        yield b"RIFF" + len(body).to_bytes(4, "little") + body


def _tiff(content: bytes) -> Iterator[bytes]:
    """Copies with only the tags about pixels of the first directory, and without further directories."""
    order = "<" if content.startswith(b"II") else ">"
    large = struct.unpack_from(order + "H", content, 2)[0] == 43
    number, offset, size = ("Q", "Q", 20) if large else ("H", "L", 12)
    begin = struct.unpack_from(order + offset, content, 8 if large else 4)[0]
    first = begin + struct.calcsize(number)
    many = struct.unpack_from(order + number, content, begin)[0] if first <= len(content) else 0
    entries = [content[i : i + size] for i in range(first, min(first + min(many, ENTRIES) * size, len(content)), size)]
    for kept in (TIFF_KEPT | {ORIENTATION}, TIFF_KEPT):
        wanted = [entry for entry in entries if int.from_bytes(entry[:2], BYTES[order]) in kept]
        directory = struct.pack(order + number, len(wanted)) + b"".join(wanted) + struct.pack(order + offset, 0)
        yield content[:begin] + directory + content[begin + len(directory) :]


def _heif(content: bytes) -> Iterator[bytes]:
    """Copies in which EXIF and XMP items have a type that no reader knows."""
    for names in (rb"mime|uri ", rb"mime|uri |Exif"):
        yield re.sub(rb"(infe(?:\x02.{7}|\x03.{9}))(?:" + names + rb")", rb"\1none", content, flags=re.DOTALL)


BYTES: dict[str, Literal["little", "big"]] = {"<": "little", ">": "big"}
KINDS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], Iterator[bytes]]], ...] = (
    (lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"), _png),
    (lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP", _webp),
    (lambda head: head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _tiff),
    (lambda head: head[4:8] == b"ftyp", _heif),
)
