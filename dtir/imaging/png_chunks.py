"""Chunks of PNG files that say something about the picture and that libvips loses or, texts, writes in another code."""

import struct
import zlib
from collections.abc import Iterator
from typing import IO

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_KEPT = (b"tEXt", b"zTXt", b"iTXt", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"tIME")
_XMP = b"XML:com.adobe.xmp\0"
# Those that are pixels, and those that libvips carries or that are part of how pixels are stored.
_CARRIED = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP", b"eXIf", b"pHYs", b"bKGD", b"hIST", b"sBIT", b"sPLT")
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
# Those that say what the pixels are.
_CRITICAL = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_MOST_PIXELS_ACROSS = 1_000_000
# Signature and header chunk, which stay in front of all others.
HEAD_BYTES = len(SIGNATURE) + 25


def kept_chunks(file: IO[bytes]) -> bytes:
    """Whole chunks of a PNG file that a restoration takes over as they are: texts, colours, time.

    XMP is left out: libvips carries it. What lies behind a damaged place is not found.
    """
    return b"".join(chunk for kind, chunk in _chunks(file) if kind in _KEPT and chunk[8 : 8 + len(_XMP)] != _XMP)


def lost_chunks(file: IO[bytes]) -> list[str]:
    """The kinds of further chunks of a PNG file, which are not taken over."""
    kinds = dict.fromkeys(kind for kind, _ in _chunks(file) if kind not in (*_KEPT, *_CARRIED, *_ANIMATION))
    return [f"PNG chunk {kind.decode('latin-1')}" for kind in kinds]


def frames(file: IO[bytes]) -> int:
    """How many pictures a PNG file holds, to be shown one after another or in place of the others; 1 where it is no
    animation."""
    chunks = list(_chunks(file))
    kinds = [kind for kind, _ in chunks]
    if b"acTL" not in kinds:
        return 1
    shown = int.from_bytes(chunks[kinds.index(b"acTL")][1][8:12], "big")
    # Without a control of its own, the still picture is none of the frames.
    apart = b"IDAT" in kinds and b"fcTL" not in kinds[: kinds.index(b"IDAT")]
    return shown + apart


def bare_png(data: bytes) -> bytes | None:
    """A PNG file with nothing but what the pixels need; None where it is damaged, or turned by an EXIF block.

    libpng has nothing to complain of in it.
    """
    parts, place, kind = [data[: len(SIGNATURE)]], len(SIGNATURE), b""
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", data[place : place + 8]) if place + 8 <= len(data) else (0, b"eXIf")
        end = place + 12 + length
        if kind == b"eXIf" or end > len(data):
            return None
        if kind in _CRITICAL:
            if zlib.crc32(memoryview(data)[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
                return None
            parts.append(data[place:end])
        place = end
    width, height = struct.unpack(">II", data[16:24])
    return b"".join(parts) if 0 < width <= _MOST_PIXELS_ACROSS and 0 < height <= _MOST_PIXELS_ACROSS else None


def text_keywords(chunks: bytes) -> list[str]:
    """The keywords of the texts among whole chunks."""
    texts = (chunk for kind, chunk in _split(chunks) if kind in _KEPT[:3])
    return [chunk[8:].split(b"\0")[0].decode("latin-1") for chunk in texts]


def with_chunks(head: bytes, chunks: bytes) -> bytes:
    """The first bytes of a PNG file with chunks put behind its header chunk."""
    return head[:HEAD_BYTES] + chunks + head[HEAD_BYTES:]


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Kind and whole bytes of every chunk, without the bytes of pixels."""
    file.seek(len(SIGNATURE))
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in (b"IDAT", b"fdAT"):
            file.seek(length + 4, 1)
            yield kind, head
            continue
        rest = file.read(length + 4)
        if len(rest) < length + 4:
            return
        yield kind, head + rest


def _split(chunks: bytes) -> Iterator[tuple[bytes, bytes]]:
    while chunks:
        size = 12 + int.from_bytes(chunks[:4], "big")
        yield chunks[4:8], chunks[:size]
        chunks = chunks[size:]
