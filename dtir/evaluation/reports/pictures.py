"""Pictures kept for the report page: LQ, restored and GT as PNG files, and an index of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dtir.core.atomic import atomic_write
from dtir.core.errors import ImageFileError

INDEX = "pictures.json"
KINDS = ("lq", "restored", "gt")

# A page with twenty pictures of this side, three of each, is a file that can still be mailed.
SIDE = 320


@dataclass(frozen=True)
class ReportPicture:
    """A validation picture and what became of it.

    Attributes:
        task: Name of the task.
        name: Name of the picture in its dataset.
        psnr_lq: PSNR of the whole input in dB, RGB, 8 bits.
        psnr: PSNR of the whole restored picture in dB, RGB, 8 bits.
        lq, restored, gt: uint8 (H, W, 3), RGB, of one size.
    """

    task: str
    name: str
    psnr_lq: float
    psnr: float
    lq: np.ndarray
    restored: np.ndarray
    gt: np.ndarray


def centre_crop(picture: np.ndarray, side: int = SIDE) -> np.ndarray:
    """The middle of a picture (H, W, 3), at most `side` high and wide: pixels keep their size, damage its look."""
    top, left = (max(0, (length - side) // 2) for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def save_pictures(folder: str | Path, pictures: Sequence[ReportPicture]) -> None:
    """Writes the middle of each picture as `<number>_{lq,restored,gt}.png`, and last the index `pictures.json`.

    The index is a list of `{task, name, psnr_lq, psnr, files: {lq, restored, gt}}`; a PSNR that is not finite is null.

    Args:
        folder: Where to write.
        pictures: In the order of the page.

    Raises:
        ImageFileError: A picture cannot be encoded.
    """
    folder = Path(folder)
    entries = []
    for number, picture in enumerate(pictures):
        files = {kind: f"{number:03d}_{kind}.png" for kind in KINDS}
        for kind, name in files.items():
            _write_png(folder / name, centre_crop(getattr(picture, kind)))
        values = {key: getattr(picture, key) for key in ("psnr_lq", "psnr")}
        finite = {key: value if np.isfinite(value) else None for key, value in values.items()}
        entries.append({"task": picture.task, "name": picture.name, **finite, "files": files})
    with atomic_write(folder / INDEX, "w", encoding="utf-8") as file:
        json.dump(entries, file, indent=1)


def _write_png(path: Path, rgb: np.ndarray) -> None:
    done, data = cv2.imencode(".png", cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2BGR))
    if not done:
        raise ImageFileError(f"cannot encode '{path}' of {rgb.shape[1]}x{rgb.shape[0]} pixels.")
    with atomic_write(path) as file:
        file.write(data.tobytes())
