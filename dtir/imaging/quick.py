"""Reading of pictures for training: through OpenCV where that is faster and gives the same pixels."""

import contextlib
import io
import os
import warnings
from collections.abc import Iterator

import cv2
import numpy as np
from PIL.JpegImagePlugin import JpegImageFile
from torch.utils.data import get_worker_info

from dtir.imaging.opening import open_source
from dtir.imaging.png_chunks import bare_png

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_SCAN, _END, _STDERR = 0xDA, b"\xff\xd9", 2
# What it has to say of a damaged file is said by an error.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_READ = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH


def decode_rgb(data: bytes, origin: str | os.PathLike) -> np.ndarray:
    """The content of a picture file as uint8 (H, W, 3), see `dtir.imaging.files.read_rgb`.

    Args:
        data: The content, not empty.
        origin: What messages call it.

    Raises:
        ImageFileError: It is damaged, cut off, or no picture.
    """
    pixels = _through_opencv(data)
    if pixels is not None:
        return _to_uint8(pixels, np.iinfo(pixels.dtype).max)
    source = open_source(data, origin)
    pixels = source.read()
    colour = np.repeat(pixels[:, :, :1], 3, axis=2) if source.form.was_grey else pixels[:, :, :3]
    return _to_uint8(np.ascontiguousarray(colour), source.form.peak)


def _through_opencv(data: bytes) -> np.ndarray | None:
    # Not WebP: OpenCV overlooks the orientation in most files that have one, and is no faster. Nor what libjpeg and
    # libpng would have something to say of: OpenCV lets them print it.
    if data.startswith(_PNG):
        data = bare_png(data)
    elif not data.startswith(_JPEG) or not _is_sound(data) or _is_cmyk(data):
        return None
    if data is None:
        return None
    try:
        with _silent_worker():
            return cv2.imdecode(np.frombuffer(data, np.uint8), _READ)
    except cv2.error:
        return None


def _is_sound(jpeg: bytes) -> bool:
    """Whether segment follows on segment, up to the pixels, and the file has an end."""
    place = 2
    while jpeg[place : place + 1] == b"\xff" and place + 4 <= len(jpeg):
        if jpeg[place + 1] == _SCAN:
            return jpeg.rfind(_END, place) >= 0
        place += 2 + int.from_bytes(jpeg[place + 2 : place + 4], "big")
    return False


@contextlib.contextmanager
def _silent_worker() -> Iterator[None]:
    """Keeps what libjpeg prints of damage among the pixels out of the terminal, in a process that only reads data.

    The error stream is the whole process's: elsewhere, threads with something else to say may write to it.
    """
    if get_worker_info() is None:
        yield
        return
    kept, nowhere = os.dup(_STDERR), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDERR)
    try:
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
        os.close(nowhere)


def _is_cmyk(data: bytes) -> bool:
    if not data.startswith(_JPEG):
        return False
    with warnings.catch_warnings():
        # Pillow tells of damaged EXIF by warnings.
        warnings.simplefilter("ignore")
        try:
            return JpegImageFile(io.BytesIO(data)).mode == "CMYK"
        except (OSError, SyntaxError, ValueError):
            return True


def _to_uint8(pixels: np.ndarray, peak: int) -> np.ndarray:
    if peak == 255:
        return pixels
    # No v / 257 lies halfway between two integers, so every way of rounding gives the same.
    return cv2.convertScaleAbs(pixels, alpha=255 / peak)
