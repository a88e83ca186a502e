"""Pictures of several methods side by side, with the part in which they differ most enlarged."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from dtir.evaluation.reports.methods.reading import Method
from dtir.evaluation.reports.panels import PanelRow, save_panel
from dtir.imaging.files import read_rgb

# Side of the enlarged part, of pictures that are kept 320 pixels wide.
PART = 72
_MARK = (255, 40, 40)


def write_pictures(folder: str | Path, methods: Sequence[Method]) -> list[Path]:
    """Writes a sheet for every picture that the first run of every method has kept: LQ, the methods, GT.

    The row below shows the square of `PART` pixels in which the restored pictures differ most, enlarged.

    Args:
        folder: Where the sheets go, `<task>_<number>.png`.
        methods: The methods.

    Returns:
        The files.

    Raises:
        ImageFileError: A kept picture cannot be read.
    """
    kept = [_kept(method) for method in methods]
    shared = [key for key in kept[0] if all(key in files for files in kept)]
    paths = []
    for number, (task, name) in enumerate(shared):
        files = [one[task, name] for one in kept]
        pictures = [read_rgb(files[0]["lq"]), *(read_rgb(f["restored"]) for f in files), read_rgb(files[0]["gt"])]
        if len({picture.shape for picture in pictures}) == 1:
            path = Path(folder) / f"{task.replace('/', '_')}_{number:03d}.png"
            save_panel(path, _rows(pictures, ["LQ", *(method.name for method in methods), "GT"]))
            paths.append(path)
    return paths


def _kept(method: Method) -> dict[tuple[str, str], dict[str, Path]]:
    run = method.runs[0]
    folder = run.folder / "report" / "pictures"
    return {
        (entry["task"], entry["name"]): {kind: folder / file for kind, file in entry["files"].items()}
        for entry in run.pictures
    }


def _rows(pictures: Sequence[np.ndarray], labels: Sequence[str]) -> list[PanelRow]:
    top, left = most_different(pictures[1:-1])
    part = (slice(top, top + PART), slice(left, left + PART))
    marked = [_framed(picture, top, left) for picture in pictures]
    ascii_labels = [label.encode("ascii", "replace").decode() for label in labels]
    return [PanelRow(marked, ascii_labels), PanelRow([picture[part] for picture in pictures], [""] * len(labels))]


def most_different(pictures: Sequence[np.ndarray]) -> tuple[int, int]:
    """Top and left of the square of `PART` pixels in which pictures vary most about their mean.

    Args:
        pictures: uint8 (H, W, 3), two at least, of one size.
    """
    variance = np.stack(pictures).astype(np.float32).var(axis=0).mean(axis=-1)
    height, width = (min(PART, side) for side in variance.shape)
    sums = cv2.boxFilter(variance, -1, (width, height), anchor=(0, 0), normalize=False, borderType=cv2.BORDER_CONSTANT)
    inside = sums[: variance.shape[0] - height + 1, : variance.shape[1] - width + 1]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(top), int(left)


def _framed(picture: np.ndarray, top: int, left: int) -> np.ndarray:
    bottom, right = (min(start + PART, side) - 1 for start, side in zip((top, left), picture.shape, strict=False))
    return cv2.rectangle(picture.copy(), (left, top), (right, bottom), _MARK, 1)
