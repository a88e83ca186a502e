"""Contact sheet of the ten synthetic degradations, and how hard they are beside real pairs.

Usage: python tools/analysis/degradation_sheet.py [--out DIR] [--data DIR]
Writes DIR/degradations.png (one row per task: clean, severities 0.2, 0.5, 0.8) and prints a table: mean PSNR of the
degraded shipped photographs at the default severities, of the real pairs in --data (real10/<task>/{LQ,GT}), and the
milliseconds that a 96x96 patch takes.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dtir.datasets import PairedDataset, resolve_root
from dtir.datasets.degradations import TASK_DEGRADATIONS, Degradation
from dtir.evaluation.reports.panels import PanelRow, save_panel
from dtir.registry import DEGRADATIONS
from dtir.utils.image_io import list_images, read_rgb

SEVERITIES = (0.2, 0.5, 0.8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR in dB of pictures in [0, 1], at most 100."""
    return float(-10 * np.log10(max(np.square(a - b).mean(), 1e-10)))


def typical_psnr(degrade: Degradation, photos: list[np.ndarray]) -> float:
    """Mean PSNR of degraded photographs at the default severities."""
    values = []
    for number, photo in enumerate(photos):
        rng = np.random.default_rng(number)
        values.append(psnr(degrade(photo, rng, rng.uniform(*degrade.severity)), photo))
    return statistics.fmean(values)


def real_psnr(data: Path, task: str) -> float | None:
    """Mean PSNR of the real pairs of a task, None where there are none."""
    folder = data / "real10" / task
    if not folder.is_dir():
        return None
    pairs = PairedDataset(task, folder.resolve())
    items = (pairs[index] for index in range(len(pairs)))
    return statistics.fmean(
        psnr(item["inputs"].numpy() / 255, item["data_samples"]["gt"].numpy() / 255) for item in items
    )


def patch_milliseconds(degrade: Degradation, photo: np.ndarray) -> float:
    """Median time of a 96x96 patch on one thread."""
    patch = np.ascontiguousarray(photo[:96, :96])
    times = []
    for number in range(30):
        start = time.perf_counter()
        degrade(patch, np.random.default_rng(number), 0.5)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def sheet_row(task: str, degrade: Degradation, photo: np.ndarray) -> PanelRow:
    """The clean photograph and its degraded versions."""
    versions = [degrade(photo, np.random.default_rng(0), severity) for severity in SEVERITIES]
    pictures = [(picture * 255).round().astype(np.uint8) for picture in (photo, *versions)]
    labels = [task] + [f"severity {s}: {psnr(v, photo):.1f} dB" for s, v in zip(SEVERITIES, versions, strict=True)]
    return PanelRow(pictures, labels)


def main() -> None:
    """Draws the sheet and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("work_dirs/degradations"))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DTIR_DATA", "data")), help="real pairs")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    photos = [read_rgb(path).astype(np.float32) / 255 for path in list_images(resolve_root("asset://photos"))]
    table = Table(title="mean input PSNR in dB, ms per 96x96 patch")
    for name in ("task", "synthetic", "real pairs", "ms"):
        table.add_column(name, justify="left" if name == "task" else "right")
    rows = []
    for number, (task, kind) in enumerate(track(TASK_DEGRADATIONS.items(), "degrading", transient=True)):
        degrade = DEGRADATIONS.build({"type": kind})
        real = real_psnr(args.data, task)
        rows.append(sheet_row(task, degrade, photos[number % len(photos)]))
        cells = (f"{typical_psnr(degrade, photos):.2f}", "-" if real is None else f"{real:.2f}")
        table.add_row(task, *cells, f"{patch_milliseconds(degrade, photos[0]):.2f}")
    save_panel(args.out / "degradations.png", rows, width=280)
    Console().print(table)
    Console().print(f"contact sheet: {args.out / 'degradations.png'}", soft_wrap=True)


if __name__ == "__main__":
    main()
