"""What OpenCV does not tell about an image file: whether all of it is there, and the tags of TIFF and EXIF.

OpenCV decodes a truncated PNG or JPEG to a partly grey picture without an error, depending on its version; training
on such a picture or judging by it is silently wrong, so files are checked before they are decoded.
"""

import struct
import zlib

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
TIFF_SIGNATURES = (b"II*\x00", b"MM\x00*")

TAG_PHOTOMETRIC, TAG_STRIP_OFFSETS, TAG_ORIENTATION, TAG_STRIP_BYTES = 262, 273, 274, 279
TAG_TILE_OFFSETS, TAG_TILE_BYTES, TAG_EXTRA_SAMPLES, TAG_ICC_PROFILE = 324, 325, 338, 34675

_PROFILE_MARK, _PROFILE_PART = b"ICC_PROFILE\0", 65519
_JPEG_END, _JPEG_SCAN = b"\xff\xd9", 0xDA
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_TYPE_CODES = {3: "H", 4: "I"}

Tags = dict[int, tuple[int, ...] | bytes]


def find_damage(data: bytes) -> str | None:
    """Returns what is wrong with an image file's bytes ('the file ends early ...'), or None if nothing is found.

    Knows PNG (all chunks there, checksums right), JPEG (end marker there) and TIFF (all pixel data inside the file);
    for other formats the decoder's own verdict has to do.
    """
    if data.startswith(PNG_SIGNATURE):
        return _png_damage(data)
    if data.startswith(JPEG_SIGNATURE):
        return _jpeg_damage(data)
    if data.startswith(TIFF_SIGNATURES):
        return _tiff_damage(data)
    return None


def _png_damage(data: bytes) -> str | None:
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        # Lower-case chunks are ancillary: a wrong checksum there leaves the picture whole.
        if kind[:1].isupper() and zlib.crc32(memoryview(data)[at + 4 : end - 4]) != int.from_bytes(
            data[end - 4 : end], "big"
        ):
            return f"the checksum of its {kind.decode('latin-1')} chunk is wrong, so its contents are damaged"
        if kind == b"IEND":
            return None
        at = end
    return f"the file ends early, after {len(data)} bytes"


def _jpeg_damage(data: bytes) -> str | None:
    at = 2
    # The end marker is looked for behind the scan header: an embedded thumbnail has an end marker of its own.
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return f"byte {at} should start a JPEG segment and does not"
        marker = data[at + 1]
        if marker == _JPEG_SCAN:
            return None if data.find(_JPEG_END, at) >= 0 else f"the file ends early, after {len(data)} bytes"
        # 0xFF is a fill byte; the markers 0xD0-0xD8 and 0x01 stand alone, all others carry their length.
        if marker == 0xFF:
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return f"the file ends early, after {len(data)} bytes"


def _tiff_damage(data: bytes) -> str | None:
    try:
        tags = read_tags(data)
    except struct.error:
        return f"the file ends early, after {len(data)} bytes"
    offsets = tags.get(TAG_STRIP_OFFSETS, tags.get(TAG_TILE_OFFSETS, ()))
    sizes = tags.get(TAG_STRIP_BYTES, tags.get(TAG_TILE_BYTES, ()))
    needed = max((offset + size for offset, size in zip(offsets, sizes, strict=False)), default=0)
    return f"the file ends early: {len(data)} of at least {needed} bytes" if needed > len(data) else None


def read_tags(data: bytes) -> Tags:
    """Returns the first directory of a TIFF file or an EXIF block (which is laid out as a TIFF file).

    Integer tags come as tuples of ints, all others as their raw bytes.

    Raises:
        struct.error: the data are not such a directory, or end early.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise struct.error("no TIFF byte-order mark")
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, directory)
    entries = range(directory + 2, directory + 2 + 12 * count, 12)
    return dict(_read_tag(data, order, entry) for entry in entries)


def _read_tag(data: bytes, order: str, entry: int) -> tuple[int, tuple[int, ...] | bytes]:
    tag, kind, count = struct.unpack_from(order + "HHI", data, entry)
    size = _TYPE_BYTES.get(kind, 1) * count
    at = entry + 8 if size <= 4 else struct.unpack_from(order + "I", data, entry + 8)[0]
    if at + size > len(data):
        raise struct.error(f"tag {tag} lies outside the data")
    if kind in _TYPE_CODES:
        return tag, struct.unpack_from(f"{order}{count}{_TYPE_CODES[kind]}", data, at)
    return tag, data[at : at + size]


def read_orientation(exif: bytes) -> int:
    """Returns the EXIF orientation, 1 (upright) to 8; 1 where the block has none or is malformed."""
    try:
        value = read_tags(exif).get(TAG_ORIENTATION, (1,))
    except struct.error:
        return 1
    return value[0] if value and 1 <= value[0] <= 8 else 1


def add_tiff_profile(data: bytes, profile: bytes) -> bytes:
    """Returns the one-page TIFF file `data` with the ICC `profile` embedded, which OpenCV cannot do.

    The directory is copied to the end of the file with one more entry; entries must ascend, and the profile's tag is
    above all those that OpenCV writes.
    """
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, directory)
    entries = data[directory + 2 : directory + 2 + 12 * count]
    body = data + bytes(len(data) % 2)
    start = len(body) + len(profile) + len(profile) % 2
    entry = struct.pack(order + "HHII", TAG_ICC_PROFILE, 7, len(profile), len(body))
    body += profile + bytes(len(profile) % 2)
    body += struct.pack(order + "H", count + 1) + entries + entry + bytes(4)
    return body[:4] + struct.pack(order + "I", start) + body[8:]


def add_jpeg_profile(data: bytes, profile: bytes) -> bytes:
    """Returns the JPEG file `data` with the ICC `profile` embedded, in as many segments as it needs (OpenCV: one)."""
    at = 2
    # JFIF and EXIF want to come first.
    while data[at] == 0xFF and data[at + 1] in (0xE0, 0xE1):
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    parts = [profile[start : start + _PROFILE_PART] for start in range(0, len(profile), _PROFILE_PART)]
    segments = [
        b"\xff\xe2" + struct.pack(">H", 16 + len(part)) + _PROFILE_MARK + bytes([number, len(parts)]) + part
        for number, part in enumerate(parts, start=1)
    ]
    return data[:at] + b"".join(segments) + data[at:]
