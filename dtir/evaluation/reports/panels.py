"""A picture of results: one row per task, LQ | restored | GT."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dtir.core.atomic import atomic_write
from dtir.core.errors import ImageFileError

_LABEL = 26
_GAP = 6
_FONT_SCALE = 0.45


@dataclass(frozen=True)
class PanelRow:
    """One row: pictures (H, W, 3) uint8 RGB, and as many labels (ASCII, which is what the font has)."""

    pictures: Sequence[np.ndarray]
    labels: Sequence[str]


def save_panel(path: str | Path, rows: Sequence[PanelRow], width: int = 320) -> None:
    """Draws rows of labelled pictures as one PNG, or as a JPEG where the path ends in .jpg.

    Pictures are scaled, whole, to fit a square of side `width`; what stays free beside a picture that is narrower, or
    below one that is lower than its neighbours, is white.

    Args:
        path: File to write.
        rows: At least one row, all with the same number of pictures.
        width: Width of a column in pixels.

    Raises:
        ImageFileError: The picture cannot be encoded.
    """
    sheet = np.concatenate([_row(row, width) for row in rows])
    extension = ".jpg" if Path(path).suffix.lower() in (".jpg", ".jpeg") else ".png"
    options = [cv2.IMWRITE_JPEG_QUALITY, 85] if extension in (".jpg", ".jpeg") else []
    done, data = cv2.imencode(extension, cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ImageFileError(f"cannot encode the panel '{path}' of {sheet.shape[1]}x{sheet.shape[0]} pixels.")
    with atomic_write(path) as file:
        file.write(data.tobytes())


def _row(row: PanelRow, width: int) -> np.ndarray:
    cells = [_cell(picture, label, width) for picture, label in zip(row.pictures, row.labels, strict=True)]
    height = max(len(cell) for cell in cells)
    return np.concatenate([_pad(cell, height + _GAP, width + _GAP) for cell in cells], axis=1)


def _cell(picture: np.ndarray, label: str, width: int) -> np.ndarray:
    scaled = _fit(picture, width)
    return np.concatenate([_strip(label, width), _pad(scaled, len(scaled), width, centred=True)])


def _fit(picture: np.ndarray, side: int) -> np.ndarray:
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _strip(label: str, width: int) -> np.ndarray:
    strip = np.full((_LABEL, width, 3), 255, np.uint8)
    (length, _), _ = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, _FONT_SCALE, 1)
    scale = _FONT_SCALE * min(1, (width - 8) / max(length, 1))
    return cv2.putText(strip, label, (4, 18), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 1, cv2.LINE_AA)


def _pad(picture: np.ndarray, height: int, width: int, centred: bool = False) -> np.ndarray:
    left = (width - picture.shape[1]) // 2 if centred else 0
    right = width - picture.shape[1] - left
    return np.pad(picture, ((0, height - picture.shape[0]), (left, right), (0, 0)), constant_values=255)
