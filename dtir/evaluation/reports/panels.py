"""A picture of results: one row per task, LQ | restored | GT."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dtir.utils.atomic import atomic_write
from dtir.utils.errors import ImageFileError

_LABEL = 26
_GAP = 6


@dataclass(frozen=True)
class PanelRow:
    """One row: pictures (H, W, 3) uint8 RGB of one size, and their labels."""

    pictures: Sequence[np.ndarray]
    labels: Sequence[str]


def save_panel(path: str | Path, rows: Sequence[PanelRow], width: int = 320) -> None:
    """Draws rows of labelled pictures, all scaled to one width, as one PNG.

    Args:
        path: PNG to write.
        rows: At least one row, all with the same number of pictures.
        width: Width of a picture in the panel, in pixels.

    Raises:
        ImageFileError: The picture cannot be encoded.
    """
    sheet = np.concatenate([_row(row, width) for row in rows])
    done, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not done:
        raise ImageFileError(f"cannot encode the panel '{path}' of {sheet.shape[1]}x{sheet.shape[0]} pixels.")
    with atomic_write(path) as file:
        file.write(data.tobytes())


def _row(row: PanelRow, width: int) -> np.ndarray:
    cells = [_cell(picture, label, width) for picture, label in zip(row.pictures, row.labels, strict=True)]
    return np.pad(np.concatenate(cells, axis=1), ((0, _GAP), (0, 0), (0, 0)), constant_values=255)


def _cell(picture: np.ndarray, label: str, width: int) -> np.ndarray:
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    shrinks = width < picture.shape[1]
    scaled = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    strip = np.full((_LABEL, width, 3), 255, np.uint8)
    cv2.putText(strip, label, (4, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.pad(np.concatenate([strip, scaled]), ((0, 0), (0, _GAP), (0, 0)), constant_values=255)
