"""The tags of TIFF files: those that libvips does not carry from one file to another are added to what it has written.

The layout is that of TIFF 6.0 (Adobe, 1992), section 2, and of BigTIFF, whose numbers are wider.
"""

import struct
from collections.abc import Iterable
from typing import IO, NamedTuple

import numpy as np

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SAMPLE_BITS, PHOTOMETRIC, TILE_WIDTH, EXTRA_SAMPLES = 258, 262, 322, 338
EXIF, GPS = 34665, 34853

# How the samples are laid out, which is the writer's own business.
_LAYOUT = {*range(254, 260), 262, *range(263, 267), 273, *range(277, 282), 284, *range(288, 294), 317, 320, 321}
_LAYOUT |= {*range(322, 326), 330, *range(332, 335), 336, *range(338, 344), 347, *range(512, 522), *range(529, 533)}
# Orientation and profile change with the pixels, and libvips carries them.
_CARRIED = {274, 34675}
# Bytes of one number and of one value by type: a fraction is two numbers.
_NUMBER_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 1, 7: 1, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_VALUE_BYTES = _NUMBER_BYTES | {5: 8, 10: 8}
_INTEGERS = {1: "u1", 3: "<u2", 4: "<u4", 13: "<u4", 16: "<u8", 18: "<u8"}
_SHORT, _LONG, _LONG8 = 3, 4, 16


class Tag(NamedTuple):
    """A tag's type by its number in the standard, and its value: little-endian bytes, or a directory of its own."""

    kind: int
    value: "bytes | Tags"

    @property
    def numbers(self) -> tuple[int, ...]:
        """The value as whole numbers."""
        return tuple(np.frombuffer(self.value, _INTEGERS[self.kind]).tolist())


Tags = dict[int, Tag]


def shorts(*values: int) -> Tag:
    """A tag of 16-bit numbers."""
    return Tag(_SHORT, struct.pack(f"<{len(values)}H", *values))


def read_tags(file: IO[bytes], page: int = 0) -> Tags:
    """The tags of a page, counted from 0.

    Raises:
        ValueError: The file is not TIFF, has no such page, or its directories are damaged.
    """
    layout = _Layout(file)
    place = layout.first
    for _ in range(page):
        _, place = layout.read(file, place)
    return layout.read(file, place)[0]


def kept_tags(tags: Tags) -> Tags:
    """Those of a page's tags that say something about the picture and are true of its restoration too."""
    return {tag: entry for tag, entry in tags.items() if tag not in _LAYOUT | _CARRIED}


def add_tags(file: IO[bytes], pages: Iterable[Tags]) -> None:
    """Adds tags to the pages of a TIFF file, which is open for reading and writing.

    A tag that is there already is replaced. The directory of each page is written anew at the end of the file.

    Raises:
        ValueError: The file has fewer pages.
    """
    layout = _Layout(file)
    place, pointer = layout.first, layout.first_pointer
    for added in pages:
        tags, following = layout.read(file, place)
        place = layout.append(file, tags | added, following)
        file.seek(pointer)
        file.write(layout.pack(layout.offset, place))
        pointer = place + layout.head_bytes(len(tags | added))
        place = following


# The beginning of a BigTIFF file whose first directory is not yet written.
BIG_HEAD = b"II+\0" + struct.pack("<HHQ", 8, 0, 0)


def end_plain_file(file: IO[bytes], height: int, width: int, channels: int, dtype: np.dtype, strip: int) -> None:
    """Writes the directory of a file that holds BIG_HEAD and then rows of samples, uncompressed.

    Args:
        file: Open for reading and writing.
        height: Height of the picture.
        width: Width of the picture.
        channels: Grey or RGB, and others of no meaning.
        dtype: Type of the samples.
        strip: Rows that readers take at once.
    """
    colours = 1 if channels < 3 else 3
    row = width * channels * dtype.itemsize
    starts = np.arange(0, height, strip, np.uint64)
    sizes = np.minimum(starts + strip, height) - starts
    tags = {256: _longs(width), 257: _longs(height), SAMPLE_BITS: shorts(*[8 * dtype.itemsize] * channels)}
    tags |= {259: shorts(1), PHOTOMETRIC: shorts(1 if colours == 1 else 2), 277: shorts(channels), 278: _longs(strip)}
    tags |= {273: Tag(_LONG8, (len(BIG_HEAD) + starts * row).astype("<u8").tobytes())}
    tags |= {279: Tag(_LONG8, (sizes * row).astype("<u8").tobytes())}
    tags |= {EXTRA_SAMPLES: shorts(*[0] * (channels - colours))} if channels > colours else {}
    layout = _Layout(file)
    place = layout.append(file, tags, 0)
    file.seek(layout.first_pointer)
    file.write(layout.pack(layout.offset, place))
    file.flush()


def _longs(*values: int) -> Tag:
    return Tag(_LONG, struct.pack(f"<{len(values)}I", *values))


class _Layout:
    """Where things stand in the directories of one file."""

    def __init__(self, file: IO[bytes]):
        file.seek(0)
        header = file.read(16)
        if not header.startswith(TIFF_SIGNATURES) or len(header) < 8:
            raise ValueError("it is no TIFF file")
        self.order = "<" if header[:2] == b"II" else ">"
        big = b"+" in header[2:4]
        self.count, self.offset = ("Q", "Q") if big else ("H", "I")
        self.count_bytes, self.inline_bytes = (8, 8) if big else (2, 4)
        self.entry, self.first_pointer = ("HHQ8s", 8) if big else ("HHI4s", 4)
        self.first = self.unpack(self.offset, header[self.first_pointer :][: self.inline_bytes])[0]

    def pack(self, kinds: str, *values: int | bytes) -> bytes:
        return struct.pack(self.order + kinds, *values)

    def unpack(self, kinds: str, data: bytes) -> tuple:
        try:
            return struct.unpack(self.order + kinds, data)
        except struct.error:
            raise ValueError("a directory of it lies beyond its end") from None

    def head_bytes(self, count: int) -> int:
        """Bytes of a directory of so many tags before the pointer to the next."""
        return self.count_bytes + count * struct.calcsize("<" + self.entry)

    def read(self, file: IO[bytes], place: int) -> tuple[Tags, int]:
        """The tags of the directory at a place, and the place of the next; 0 after the last."""
        if place == 0:
            raise ValueError("it has no further page")
        file.seek(place)
        (count,) = self.unpack(self.count, file.read(self.count_bytes))
        size = struct.calcsize("<" + self.entry)
        body = file.read(count * size)
        entries = [self.unpack(self.entry, body[start : start + size]) for start in range(0, count * size, size)]
        (following,) = self.unpack(self.offset, file.read(self.inline_bytes))
        return {entry[0]: self._tag(file, *entry) for entry in entries if entry[1] in _VALUE_BYTES}, following

    def _tag(self, file: IO[bytes], tag: int, kind: int, count: int, inline: bytes) -> Tag:
        size = count * _VALUE_BYTES[kind]
        (place,) = self.unpack(self.offset, inline)
        if tag in (EXIF, GPS):
            return Tag(_LONG, self.read(file, place)[0])
        value = inline[:size] if size <= self.inline_bytes else _read_at(file, place, size)
        return Tag(kind, value if self.order == "<" else _swapped(value, _NUMBER_BYTES[kind]))

    def append(self, file: IO[bytes], tags: Tags, following: int) -> int:
        """Writes a directory and its values at the end of the file; returns its place."""
        entries = [self._entry(file, tag, *tags[tag]) for tag in sorted(tags)]
        place = _even_end(file)
        file.write(self.pack(self.count, len(entries)) + b"".join(entries) + self.pack(self.offset, following))
        return place

    def _entry(self, file: IO[bytes], tag: int, kind: int, value: "bytes | Tags") -> bytes:
        if isinstance(value, dict):
            value = struct.pack("<I", self.append(file, value, 0))
        count = len(value) // _VALUE_BYTES[kind]
        value = value if self.order == "<" else _swapped(value, _NUMBER_BYTES[kind])
        if len(value) <= self.inline_bytes:
            return self.pack(self.entry, tag, kind, count, value.ljust(self.inline_bytes, b"\0"))
        place = _even_end(file)
        file.write(value)
        return self.pack(self.entry, tag, kind, count, self.pack(self.offset, place))


def _read_at(file: IO[bytes], place: int, size: int) -> bytes:
    file.seek(place)
    value = file.read(size)
    if len(value) < size:
        raise ValueError("the value of a tag lies beyond its end")
    return value


def _even_end(file: IO[bytes]) -> int:
    end = file.seek(0, 2)
    file.write(bytes(end % 2))
    return end + end % 2


def _swapped(value: bytes, width: int) -> bytes:
    return np.frombuffer(value, f"<u{width}").byteswap().tobytes()
