"""Reading and writing pictures. BGR exists only in this file; everything outside sees RGB, upright."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from dtir.core.atomic import atomic_write
from dtir.core.errors import ImageFileError
from dtir.imaging import formats as image_format

IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")

_TIFF = (".tif", ".tiff")
_JPEG = (".jpg", ".jpeg")
_DEEP = (".png", *_TIFF, ".ppm", ".pgm")
_WITH_ALPHA = (".png", *_TIFF, ".webp")
_WITH_EXIF = (".png", *_JPEG, ".webp")
_RAW_PIXELS = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
_ENCODING = {
    extension: [
        cv2.IMWRITE_JPEG_QUALITY,
        95,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    for extension in _JPEG
} | {".webp": [cv2.IMWRITE_WEBP_QUALITY, 101]}
# OpenCV embeds no profile in TIFF, and only small ones in JPEG.
_PROFILE_WRITERS = {extension: image_format.add_tiff_profile for extension in _TIFF} | {
    extension: image_format.add_jpeg_profile for extension in _JPEG
}


@dataclass
class Picture:
    """A picture with all that is needed to write a restored version of it in the same form.

    Attributes:
        rgb: float32 (H, W, 3) in [0, 1], upright (the EXIF orientation is applied).
        alpha: opacity (H, W) uint8 or uint16, upright; None where the file has none.
        bit_depth: bits of one sample in the file, 8 or 16.
        was_grey: whether the file holds one colour channel.
        extension: lower-case file extension with its dot.
        orientation: EXIF orientation of the file's own pixels, 1 (upright) to 8.
        metadata: raw metadata blocks by OpenCV's type (`cv2.IMAGE_METADATA_EXIF`, `..._ICCP`, `..._XMP`).
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    bit_depth: int = 8
    was_grey: bool = False
    extension: str = ".png"
    orientation: int = 1
    metadata: dict[int, bytes] = field(default_factory=dict)


@dataclass
class _Decoded:
    colour: np.ndarray  # (H, W, 3), RGB, uint8 or uint16, upright
    alpha: np.ndarray | None
    was_grey: bool
    orientation: int
    metadata: dict[int, bytes]


def read_rgb(path: str | os.PathLike) -> np.ndarray:
    """Reads a picture for training or evaluation.

    Grey becomes three equal channels, a palette its colours, 16 bits are rounded to 8 (v / 257), the EXIF orientation
    is applied. Alpha is dropped, not composited: the colours under it are those of the photograph.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        ImageFileError: the file is missing, empty, truncated, damaged, or no picture.
    """
    return decode_rgb(_read_bytes(path), path)


def decode_rgb(data: bytes, origin: str | os.PathLike) -> np.ndarray:
    """As `read_rgb`, of a file's content.

    Args:
        data: The content, not empty.
        origin: What messages call it.

    Raises:
        ImageFileError: It is truncated, damaged, or no picture.
    """
    return _to_uint8(_decode(data, origin).colour)


def read_picture(path: str | os.PathLike) -> Picture:
    """Reads a picture together with what `write_picture` needs to keep its form.

    Raises:
        ImageFileError: the file is missing, empty, truncated, damaged, or no picture.
    """
    decoded = _decode(_read_bytes(path), path)
    peak = np.iinfo(decoded.colour.dtype).max
    return Picture(
        rgb=decoded.colour.astype(np.float32) / np.float32(peak),
        alpha=decoded.alpha,
        bit_depth=decoded.colour.dtype.itemsize * 8,
        was_grey=decoded.was_grey,
        extension=Path(path).suffix.lower(),
        orientation=decoded.orientation,
        metadata=decoded.metadata,
    )


def write_picture(path: str | os.PathLike, picture: Picture, rgb: np.ndarray) -> None:
    """Writes the restored `rgb` with bit depth, greyness, alpha, orientation, EXIF and ICC profile of `picture`.

    The format is that of `path`'s extension; what it cannot hold is left out (alpha in JPEG, 16 bits in BMP), and so
    is a profile of other colour channels than those written (that of a CMYK file). Where
    the format holds EXIF, the pixels are turned back to the orientation that the kept tag states; elsewhere they are
    written upright. JPEG is written at quality 95 without chroma subsampling, WebP lossless. The file appears whole
    or not at all.

    Args:
        path: file to write; its folder is made if needed.
        picture: the picture that was restored.
        rgb: float (H, W, 3) in [0, 1], upright; values outside are clipped. Alpha is resized to another size.

    Raises:
        ImageFileError: the format is unknown, or the folder cannot be written to, or the disk is full.
    """
    extension = Path(path).suffix.lower()
    if extension not in IMAGE_EXTENSIONS:
        raise ImageFileError(f"cannot write '{path}': use one of the extensions {', '.join(IMAGE_EXTENSIONS)}.")
    data = _encode(path, extension, picture, rgb)
    try:
        with atomic_write(path) as file:
            file.write(data)
    except OSError as error:
        raise ImageFileError(
            f"cannot write '{path}': {error.strerror or error}. Nothing was written; check that the folder may be "
            "written to and that the disk has room."
        ) from error


def list_images(folder: str | os.PathLike, recursive: bool = False) -> list[Path]:
    """Returns the pictures of a folder in natural order (img2 before img10), following symbolic links.

    A link to a file that is gone is listed too: whoever reads it says so, where leaving it out would hide it.

    Raises:
        ImageFileError: the folder does not exist.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ImageFileError(f"no folder '{root}': expected a folder of pictures.")
    found = _walk(root) if recursive else root.iterdir()
    images = [path for path in found if path.suffix.lower() in IMAGE_EXTENSIONS and _is_file_or_broken_link(path)]
    return sorted(images, key=lambda path: natural_key(str(path.relative_to(root))))


def is_broken_link(path: Path) -> bool:
    """Whether `path` is a symbolic link to what is not there."""
    return path.is_symlink() and not path.exists()


def _is_file_or_broken_link(path: Path) -> bool:
    return path.is_file() or is_broken_link(path)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which numbers inside names count as numbers: 'img2' before 'img10'."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]


def _walk(root: Path) -> Iterable[Path]:
    seen = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        # A link to a folder above would be followed for ever.
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        yield from (Path(folder, name) for name in files)


def _read_bytes(path: str | os.PathLike) -> bytes:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or error
        if is_broken_link(Path(path)):
            reason = f"it is a link to '{os.readlink(path)}', which is not there"
        raise ImageFileError(f"cannot read '{path}': {reason}. Check the path.") from error
    if not data:
        raise ImageFileError(f"'{path}' is empty (0 bytes): copy or download it again.")
    return data


def _decode(data: bytes, path: str | os.PathLike) -> _Decoded:
    damage = image_format.find_damage(data)
    if damage:
        raise ImageFileError(f"'{path}' is damaged: {damage}. Copy or download it again.")
    pixels, metadata = _decode_bytes(data)
    if pixels is None:
        raise ImageFileError(
            f"'{path}' cannot be decoded: it is damaged or no picture. Supported: {', '.join(IMAGE_EXTENSIONS)}."
        )
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageFileError(f"'{path}' holds {pixels.dtype} samples: convert it to 8 or 16 bits.")
    if data.startswith(image_format.TIFF_SIGNATURES):
        return _split_tiff(pixels, image_format.read_tags(data))
    orientation = image_format.read_orientation(metadata.get(cv2.IMAGE_METADATA_EXIF, b""))
    return _split(_make_upright(pixels, orientation), orientation, metadata)


def _decode_bytes(data: bytes) -> tuple[np.ndarray | None, dict[int, bytes]]:
    try:
        pixels, kinds, blocks = cv2.imdecodeWithMetadata(np.frombuffer(data, np.uint8), _RAW_PIXELS)
    except cv2.error:
        return None, {}
    kinds = () if kinds is None else np.asarray(kinds).ravel().tolist()
    return pixels, {int(kind): np.asarray(block).tobytes() for kind, block in zip(kinds, blocks, strict=True)}


def _split(pixels: np.ndarray, orientation: int, metadata: dict[int, bytes]) -> _Decoded:
    if pixels.ndim == 2:
        return _Decoded(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), None, True, orientation, metadata)
    alpha = np.ascontiguousarray(pixels[:, :, 3]) if pixels.shape[2] == 4 else None
    # Ten times as fast as a copy of a reversed view.
    colour = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if alpha is None else cv2.COLOR_BGRA2RGB)
    # OpenCV hands grey with alpha out as colour with alpha.
    was_grey = alpha is not None and bool((colour == colour[:, :, :1]).all())
    return _Decoded(colour, alpha, was_grey, orientation, metadata)


def _split_tiff(pixels: np.ndarray, tags: image_format.Tags) -> _Decoded:
    profile = tags.get(image_format.TAG_ICC_PROFILE)
    metadata = {cv2.IMAGE_METADATA_ICCP: profile} if isinstance(profile, bytes) else {}
    # OpenCV has already turned a TIFF upright.
    decoded = _split(pixels, 1, metadata)
    if tags.get(image_format.TAG_PHOTOMETRIC) == (5,):
        # The fourth channel of a decoded CMYK file is filling.
        decoded.alpha, decoded.was_grey = None, False
    if (
        decoded.alpha is not None
        and decoded.alpha.dtype == np.uint8
        and tags.get(image_format.TAG_EXTRA_SAMPLES) == (2,)
    ):
        decoded.colour = _unmultiply(decoded.colour, decoded.alpha)
    return decoded


def _unmultiply(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    # libtiff multiplies 8-bit colours by a straight alpha; where alpha is 0 nothing is left to recover.
    divisor = np.maximum(alpha, 1).astype(np.float32)[:, :, None]
    return np.minimum(np.rint(colour * (np.float32(255) / divisor)), 255).astype(np.uint8)


def _make_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _undo_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    # Of the eight orientations only the two quarter turns are not their own inverse.
    return _make_upright(pixels, {6: 8, 8: 6}.get(orientation, orientation))


def _to_uint8(colour: np.ndarray) -> np.ndarray:
    if colour.dtype == np.uint8:
        return colour
    # No v / 257 lies halfway between two integers, so every way of rounding gives the same.
    return cv2.convertScaleAbs(colour, alpha=1 / 257)


def _encode(path: str | os.PathLike, extension: str, picture: Picture, rgb: np.ndarray) -> bytes:
    bit_depth = picture.bit_depth if extension in _DEEP else 8
    pixels = _compose(extension, picture, _quantise(rgb, bit_depth))
    metadata = _fitting(picture.metadata, "GRAY" if pixels.ndim == 2 else "RGB ")
    embed = _PROFILE_WRITERS.get(extension)
    profile = metadata.pop(cv2.IMAGE_METADATA_ICCP, b"") if embed else b""
    if extension in _WITH_EXIF:
        pixels = _undo_upright(pixels, picture.orientation)
    data = _encode_pixels(path, extension, pixels, metadata if extension in _WITH_EXIF else {})
    return embed(data, profile) if embed and profile else data


def _encode_pixels(path: str | os.PathLike, extension: str, pixels: np.ndarray, metadata: dict[int, bytes]) -> bytes:
    kinds = sorted(metadata)
    blocks = [np.frombuffer(metadata[kind], np.uint8) for kind in kinds]
    try:
        done, data = cv2.imencodeWithMetadata(extension, pixels, kinds, blocks, _ENCODING.get(extension, []))
    except cv2.error as error:
        raise ImageFileError(f"cannot encode '{path}' as {extension}: {error.err}.") from error
    if not done:
        raise ImageFileError(f"cannot encode '{path}' as {extension}; choose another format, .png for example.")
    return data.tobytes()


def _fitting(metadata: dict[int, bytes], colour_space: str) -> dict[int, bytes]:
    # A profile of other channels than those written (CMYK, or RGB for grey) would make the file invalid.
    profile = metadata.get(cv2.IMAGE_METADATA_ICCP, b"")
    if profile[16:20] == colour_space.encode():
        return dict(metadata)
    return {kind: block for kind, block in metadata.items() if kind != cv2.IMAGE_METADATA_ICCP}


def _quantise(values: np.ndarray, bit_depth: int) -> np.ndarray:
    peak = 2**bit_depth - 1
    return np.rint(np.clip(values, 0, 1) * peak).astype(np.uint8 if bit_depth == 8 else np.uint16)


def _compose(extension: str, picture: Picture, colour: np.ndarray) -> np.ndarray:
    grey = picture.was_grey or extension == ".pgm"
    if grey:
        colour = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
    if picture.alpha is not None and extension in _WITH_ALPHA:
        channels = (colour,) * 3 if grey else (colour[:, :, 2], colour[:, :, 1], colour[:, :, 0])
        return np.dstack((*channels, _fit_alpha(picture.alpha, colour)))
    if grey:
        return np.dstack((colour,) * 3) if extension == ".ppm" else colour
    return np.ascontiguousarray(colour[:, :, ::-1])


def _fit_alpha(alpha: np.ndarray, like: np.ndarray) -> np.ndarray:
    height, width = like.shape[:2]
    if alpha.shape != (height, width):
        alpha = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR)
    if alpha.dtype == like.dtype:
        return alpha
    return _to_uint8(alpha) if like.dtype == np.uint8 else alpha.astype(np.uint16) * 257
