"""What a model makes of the free photographs that come with the package, damaged in ten ways, as one picture.

    python -m benchmarks.weights_gallery MODEL --out gallery.jpg

The photographs are among the clean training pictures of the packaged model, as those of the real test sets may not be
shown; figures are those of `benchmarks.weights`.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from benchmarks.weights import Scorer, quality
from dtir.cli import exit_code
from dtir.core.assets import ASSETS
from dtir.datasets.degradations import TASK_DEGRADATIONS
from dtir.datasets.transforms.degrade import build_degradation
from dtir.evaluation.reports.panels import PanelRow, save_panel
from dtir.imaging.files import read_rgb
from dtir.tasks import TASKS

PHOTOS = ("coffee.png", "flower.jpg", "china.jpg", "chelsea.png", "astronaut.png")
SEVERITY = 0.45
SIDE = 256


def damaged(task: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    """A photograph with a task's damage, and the photograph; the middle (SIDE, SIDE, 3), uint8."""
    photo = read_rgb(ASSETS / "photos" / PHOTOS[number % len(PHOTOS)])
    top, left = ((side - SIDE) // 2 for side in photo.shape[:2])
    clean = photo[top : top + SIDE, left : left + SIDE]
    damage = build_degradation(TASK_DEGRADATIONS[task])
    image = damage(clean.astype(np.float32) / 255, np.random.default_rng(number), SEVERITY)
    return np.rint(image * 255).astype(np.uint8), clean


def row(scorer: Scorer, task: str, number: int) -> PanelRow:
    """One task: as it came, restored by name, by estimate, and clean."""
    lq, clean = damaged(task, number)
    pictures = [lq, scorer.given(lq, task), scorer.given(lq, "auto"), clean]
    values = [f"{quality(picture, clean)[0]:.1f} dB" for picture in pictures[:3]]
    names = [task, "named", f"auto ({scorer.inferencer.estimate_task(lq)})"]
    return PanelRow(pictures, [*(f"{name}: {value}" for name, value in zip(names, values, strict=True)), "clean"])


def main() -> int:
    """Damages, restores and draws; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="checkpoint or model file")
    parser.add_argument("--out", type=Path, required=True, help="PNG or JPEG to write")
    args = parser.parse_args()
    scorer = Scorer(args.model)
    save_panel(args.out, [row(scorer, task, number) for number, task in enumerate(TASKS)], width=200)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
