"""What the ten synthetic degradations look like, and how close they are to real ones.

    python tools/analysis/degradation_sheet.py [--out DIR] [--data DIR] [--split real10] [--seeds 8] [--width 280]

Writes
- DIR/degradations.jpg: of a shipped photograph per task, clean, and at severities 0.2, 0.5 and 0.8;
- DIR/real.jpg, where DATA/SPLIT/<task>/{LQ,GT} has pairs: clean, the real LQ, and two synthetic ones of the same GT;
- DIR/degradations.md and the terminal: the statistics of dtir.evaluation.damage of the real pairs, and of their own GTs
  with synthetic damage (SEEDS draws each, default severities), so that only the damage differs. Where a task has no
  pairs, its degradation is measured on the shipped photographs. `ms` is the time of a 96x96 patch on one thread.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median, pstdev

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dtir.cli.numbers import positive_int
from dtir.core.errors import DtirError
from dtir.datasets import PairedDataset, resolve_root
from dtir.datasets.degradations import TASK_DEGRADATIONS, Degradation
from dtir.evaluation.damage import DamageStatistics, damage_statistics, mean_statistics, statistic_names
from dtir.evaluation.render import Grid, markdown_table
from dtir.evaluation.reports.panels import PanelRow, save_panel
from dtir.imaging.files import read_rgb
from dtir.imaging.listing import list_images
from dtir.registry import DEGRADATIONS

SEVERITIES = (0.2, 0.5, 0.8)
HEADER = ("task", "damage", "pictures", *statistic_names(), "ms")
FORMATS = dict(zip(statistic_names(), ("{:.2f}", "{:.3f}", "{:+.3f}", "{:+.2f}", "{:.3f}", "{:.3f}"), strict=True))


@dataclass(frozen=True)
class Pair:
    """A picture and its damaged version, uint8 (H, W, 3)."""

    lq: np.ndarray
    gt: np.ndarray


def damaged(degrade: Degradation, clean: np.ndarray, seed: tuple[int, int], severity: float | None = None) -> Pair:
    """A pair with synthetic damage, at a severity that is drawn from the degradation's own range by default."""
    rng = np.random.default_rng(seed)
    drawn = rng.uniform(*degrade.severity)
    picture = degrade(clean.astype(np.float32) / 255, rng, drawn if severity is None else severity)
    return Pair(np.rint(picture * 255).astype(np.uint8), clean)


def real_pairs(folder: Path, task: str) -> list[Pair]:
    """The pairs in LQ and GT of a folder, none where it is missing."""
    if not folder.is_dir():
        return []
    dataset = PairedDataset(task, folder.resolve())
    items = (dataset[index] for index in range(len(dataset)))
    return [Pair(_pixels(item["inputs"]), _pixels(item["data_samples"]["gt"])) for item in items]


def _pixels(picture: torch.Tensor) -> np.ndarray:
    return picture.permute(1, 2, 0).numpy()


def statistics(pairs: Iterable[Pair]) -> list[DamageStatistics]:
    """The statistics of each pair."""
    return [damage_statistics(*(torch.from_numpy(p).permute(2, 0, 1) / 255 for p in (x.lq, x.gt))) for x in pairs]


def table_row(task: str, damage: str, pictures: int, values: list[DamageStatistics], milliseconds: str) -> list[str]:
    """Cells of a row; the PSNR has its standard deviation over the pictures behind it."""
    means = zip(FORMATS.values(), astuple(mean_statistics(values)), strict=True)
    cells = [style.format(value) for style, value in means]
    cells[0] += f" ± {pstdev(value.psnr for value in values):.2f}"
    return [task, damage, str(pictures), *cells, milliseconds]


def patch_milliseconds(degrade: Degradation, photo: np.ndarray) -> float:
    """Median time of a 96x96 patch on one thread."""
    patch = photo[:96, :96].astype(np.float32) / 255
    times = []
    for number in range(30):
        start = time.perf_counter()
        degrade(patch, np.random.default_rng(number), 0.5)
        times.append(1e3 * (time.perf_counter() - start))
    return median(times)


def task_rows(task: str, degrade: Degradation, pairs: list[Pair], photos: list[np.ndarray], seeds: int) -> list:
    """Rows of the table: the real pairs where there are any, and synthetic damage of the same clean pictures."""
    clean = [pair.gt for pair in pairs] or photos
    synthetic = (damaged(degrade, gt, (number, seed)) for number, gt in enumerate(clean) for seed in range(seeds))
    milliseconds = f"{patch_milliseconds(degrade, photos[0]):.2f}"
    row = table_row(task, "synthetic", len(clean), statistics(synthetic), milliseconds)
    return [table_row(task, "real", len(pairs), statistics(pairs), "-"), row] if pairs else [row]


def severity_row(task: str, degrade: Degradation, photo: np.ndarray) -> PanelRow:
    """The clean photograph and its degraded versions."""
    pairs = [damaged(degrade, photo, (0, 0), severity) for severity in SEVERITIES]
    labels = [f"severity {s}: {v.psnr:.1f} dB" for s, v in zip(SEVERITIES, statistics(pairs), strict=True)]
    return PanelRow([photo, *(pair.lq for pair in pairs)], [task, *labels])


def real_row(task: str, degrade: Degradation, pair: Pair) -> PanelRow:
    """A clean picture, its real damage, and synthetic damage of it."""
    pairs = [pair, *(damaged(degrade, pair.gt, (0, seed)) for seed in range(2))]
    names = ("real", "synthetic", "synthetic")
    labels = [f"{name}: {v.psnr:.1f} dB" for name, v in zip(names, statistics(pairs), strict=True)]
    return PanelRow([pair.gt, *(p.lq for p in pairs)], [task, *labels])


def print_table(console: Console, rows: list[list[str]]) -> None:
    """The rows, as wide as they need to be."""
    table = Table(title="damage: means over pictures and draws")
    for name in HEADER:
        table.add_column(name, justify="left" if name in ("task", "damage") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("work_dirs/degradations"))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DTIR_DATA", "data")), help="real pairs")
    parser.add_argument("--split", default="real10", help="folder of --data that holds <task>/{LQ,GT}")
    parser.add_argument(
        "--seeds", type=positive_int, default=8, help="draws of synthetic damage for each clean picture"
    )
    parser.add_argument("--width", type=positive_int, default=280, help="of a picture on the sheets, in pixels")
    parsed = parser.parse_args()
    return parsed


def run(args: argparse.Namespace, console: Console) -> None:
    """Measures and draws every task.

    Raises:
        DtirError: Pictures are missing or cannot be read.
    """
    photos = [read_rgb(path) for path in list_images(resolve_root("asset://photos"))]
    rows, severities, real = [], [], []
    for number, (task, kind) in enumerate(track(TASK_DEGRADATIONS.items(), "degrading", transient=True)):
        degrade = DEGRADATIONS.build({"type": kind})
        pairs = real_pairs(args.data / args.split / task, task)
        rows += task_rows(task, degrade, pairs, photos, args.seeds)
        severities.append(severity_row(task, degrade, photos[number % len(photos)]))
        real += [real_row(task, degrade, pair) for pair in pairs[:1]]
    print_table(console, rows)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "degradations.md").write_text(markdown_table(Grid(HEADER, rows)) + "\n", encoding="utf-8")
    sheets = {"degradations.jpg": severities, "real.jpg": real}
    for name, sheet in sheets.items():
        if sheet:
            save_panel(args.out / name, sheet, width=args.width)
            console.print(f"contact sheet: {args.out / name}", soft_wrap=True)


def main() -> int:
    """Draws the sheets and prints the table."""
    args = arguments()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        run(args, Console(width=None if sys.stdout.isatty() else 160))
    except DtirError as error:
        Console(stderr=True).print(f"error: {error}", soft_wrap=True, markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
