"""How often removing shadows from a small copy evens it out, of pictures with shadows and of pictures without.

    DTIR_DATA=DATA python -m benchmarks.trials MODEL

Clean photographs, and documents with their shadows and without, all of which the packaged model was trained on; drawn
grounds, and grounds and photographs with drawn shadows. `auto` tries where its estimator ends, and the estimator has no
part in this. No picture of the scoreboard is looked at.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from statistics import fmean

import numpy as np
from rich.progress import track

from benchmarks.lab import markdown
from dtir.apis import RestorationInferencer
from dtir.apis.restoring.arrays import to_image
from dtir.apis.restoring.trial import evened, small_copy, tells
from dtir.cli import exit_code
from dtir.cli.numbers import positive_int
from dtir.datasets import DrawnDataset, PairedDataset, SyntheticDataset
from dtir.imaging.files import read_rgb

SHARES = (0.4, 0.5, 0.6, 0.7, 0.8)
SEVERITY = (0.3, 0.7)
TASK = "shadowed"


def pictures(count: int) -> Iterator[tuple[str, Iterable[np.ndarray]]]:
    """Sets of at most `count` pictures (H, W, 3) uint8, with their names; all of the clean photographs there are."""
    clean = SyntheticDataset(TASK, "clean", degradation="NoDamage", severity=0.0, recursive=True)
    yield "clean photographs", _inputs(clean, len(clean))
    yield "drawn grounds", _inputs(DrawnDataset(TASK, count, draw="DrawGround", seed=1), count)
    grounds = DrawnDataset(TASK, count, "CastShadow", SEVERITY, draw="DrawGround", seed=1)
    yield "the same, with cast shadows", _inputs(grounds, count)
    photographs = SyntheticDataset(TASK, "clean", degradation="CastShadow", severity=SEVERITY, recursive=True, seed=1)
    yield "photographs with cast shadows", _inputs(photographs, count)
    documents = PairedDataset(TASK, "train_pairs/shadowed-docs")
    yield "documents with shadows", _inputs(documents, count)
    yield "the same, without", (read_rgb(record["gt_path"]) for record in documents.records[:count])


def _inputs(dataset, count: int) -> Iterator[np.ndarray]:
    for number in np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int):
        yield dataset[number]["inputs"].permute(1, 2, 0).numpy()


def shares(inferencer: RestorationInferencer, found: Iterable[np.ndarray]) -> list[float]:
    """The share of each picture's unevenness that is gone when shadows are removed from a copy of it."""
    step = inferencer.steps.of_task(TASK)
    copies = [copy for copy in (small_copy(to_image(picture)) for picture in found) if tells(copy)]
    return [evened(copy, inferencer.runner.restore(copy, step)) for copy in track(copies, "pictures")]


def table(found: dict[str, list[float]]) -> str:
    """Rows by kind of picture: how many are taken for shadowed by the least share that is asked for."""
    rows = [
        [name, str(len(values)), *(f"{fmean(value >= least for value in values):.1%}" for least in SHARES)]
        for name, values in found.items()
    ]
    return markdown(["pictures", "number", *(f"share {least:g}" for least in SHARES)], rows)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="checkpoint or model file")
    parser.add_argument("--count", type=positive_int, default=100, help="pictures of each set but the clean ones")
    args = parser.parse_args()
    inferencer = RestorationInferencer(args.model, device="cpu")
    print(table({name: shares(inferencer, found) for name, found in pictures(args.count)}))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
