"""Reading of pictures for training: through OpenCV where that is faster and gives the same pixels."""

import io
import os
import warnings

import cv2
import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from dtir.imaging.opening import open_source

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
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
    # Not WebP: OpenCV overlooks the orientation in most files that have one, and is no faster.
    if not data.startswith((_JPEG, _PNG)) or _is_cmyk(data):
        return None
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), _READ)
    except cv2.error:
        return None


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
