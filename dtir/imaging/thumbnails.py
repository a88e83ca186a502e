"""Small copies of picture files, for pages."""

import os

import cv2
import numpy as np

from dtir.imaging.files import read_rgb

_QUALITY = 88


def jpeg_thumbnail(path: str | os.PathLike, side: int, quality: int = _QUALITY) -> bytes:
    """A picture file as a JPEG file that every browser shows: 8 bits, upright, without opacity and metadata.

    Args:
        path: The picture.
        side: Its longer side in pixels at most; smaller pictures are not enlarged.
        quality: Quality of the JPEG, 1 to 100.

    Raises:
        ImageFileError: see `dtir.imaging.files.read_rgb`.
    """
    rgb = read_rgb(path)
    share = side / max(rgb.shape[:2])
    if share < 1:
        size = (max(1, round(rgb.shape[1] * share)), max(1, round(rgb.shape[0] * share)))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()
