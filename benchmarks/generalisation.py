"""Networks of one kind of damage and of ten on other sets than they were trained on: what helps, and what does not.

    DTIR_DATA=DATA python -m benchmarks.generalisation run
    python -m benchmarks.generalisation table
    python -m benchmarks.generalisation earlier

Plain training, the method, and wide severities without and with a step for each picture, for equally many iterations,
the pre-training counted (configs/_base_/lab/generalisation.py, configs/_base_/lab/method_short.py). Killed at any
moment, the command goes on when it is run again; `--out` holds the trainings and, below results/, what was measured.
`earlier` tabulates the comparison before this one, whose trainings are not made any more.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from benchmarks.generalisation_cells import CLEAN, MOST, MOST_CLEAN, ONE, SEEDS, TEN, Cell, all_cells, test_crop
from benchmarks.generalisation_tables import earlier, print_tables
from benchmarks.lab import REPO, picture, train
from benchmarks.method import centre
from benchmarks.method_runs import TOLD, prepare, pretraining
from dtir.apis import RestorationInferencer
from dtir.cli import exit_code
from dtir.cli.numbers import positive_int
from dtir.core.atomic import atomic_save, atomic_write
from dtir.core.checkpoint import load_checkpoint
from dtir.core.errors import ConfigError
from dtir.datasets import PairedDataset
from dtir.evaluation.metrics.functional import psnr
from dtir.imaging.files import read_rgb
from dtir.models.backbones import DTIRUNet
from dtir.models.backbones.image.nafnet import LocalAvgPool2d
from dtir.registry import DATASETS, RESTORERS, SCOPE

RESULTS, EARLIER = "benchmarks/results/generalisation", REPO / "benchmarks/results/method"
# Steps of a task that are tried for the best one.
TRIED = 6
# Of each task, by which its share of the samples is measured.
SAMPLES = 24
Restore = Callable[[RestorationInferencer, np.ndarray, np.ndarray, str], np.ndarray]


def told(inferencer: RestorationInferencer, lq: np.ndarray, gt: np.ndarray, task: str) -> np.ndarray:
    """The task is told; the step is that of the task."""
    return inferencer.restore_array(lq, task)


def by_picture(inferencer: RestorationInferencer, lq: np.ndarray, gt: np.ndarray, task: str) -> np.ndarray:
    """The task is told, the step within it estimated."""
    return inferencer.restore_array(lq, task, "auto")


def blind(inferencer: RestorationInferencer, lq: np.ndarray, gt: np.ndarray, task: str) -> np.ndarray:
    """Nothing is told: the task is estimated, and the step as well where the network has one for each picture."""
    return inferencer.restore_array(lq, None, "auto" if inferencer.judge.judgement.steps else None)


def best(inferencer: RestorationInferencer, lq: np.ndarray, gt: np.ndarray, task: str) -> np.ndarray:
    """The best of the task's steps, and of leaving the picture, by its GT: what estimating the step could give."""
    steps = [t for t in inferencer.judge.judgement.steps[task] if t]
    tried = [steps[k] for k in np.unique(np.linspace(0, len(steps) - 1, TRIED).round().astype(int))]
    found = [lq, *(inferencer.restore_array(lq, t=t) for t in tried)]
    return max(found, key=lambda restored: psnr(picture(restored), picture(gt)).item())


MODES: dict[str, Restore] = {"told": told, "step": by_picture, "blind": blind, "best": best}


def measure(cell: Cell, inferencer: RestorationInferencer, mode: str) -> dict[str, dict[str, list[float]]]:
    """PSNR of every picture of the test sets and of its input; of clean pictures the RMSE in grey levels of 255."""
    found: dict[str, dict[str, list[float]]] = {}
    restore, side = MODES[mode], test_crop()
    for name, (folders, task) in cell.sets().items():
        values = found.setdefault(name, {"PSNR": [], "input": []})
        records = [record for folder in folders for record in PairedDataset(task, folder).records[:MOST]]
        for number, record in enumerate(records):
            lq, gt = (centre(read_rgb(record[key]), side) for key in ("lq_path", "gt_path"))
            restored = restore(inferencer, lq, gt, task)
            values["PSNR"].append(_rounded(psnr(picture(restored), picture(gt))))
            values["input"].append(_rounded(psnr(picture(lq), picture(gt))))
            if folders[0].startswith("real10/") and number < MOST_CLEAN and mode != "best":
                changed = 255 * (picture(restore(inferencer, gt, gt, task)) - picture(gt))
                found.setdefault(CLEAN, {"RMSE": []})["RMSE"].append(_rounded(changed.square().mean().sqrt()))
    return found


def _rounded(value: torch.Tensor) -> float:
    return round(value.item(), 3)


def pool_locally(backbone: DTIRUNet, patch: int) -> None:
    """Has a network pool over windows of 1.5 times what each level sees of a training patch."""
    for depth, level in backbone.by_depth():
        side = (3 * patch // 2) >> depth
        for block in level:
            block.pool = LocalAvgPool2d((side, side))


def errors(checkpoint: Path, config: Config) -> list[float]:
    """By task, the mean absolute difference from GT of training samples that are restored, told the task."""
    inferencer, found = RestorationInferencer(str(checkpoint), device="cpu"), []
    data = DATASETS.build(config.train_dataloader.dataset)
    for dataset in data.datasets:
        rng, differences = np.random.default_rng(0), []
        for _ in range(SAMPLES):
            item = dataset.training_item(int(rng.integers(len(dataset))), rng)
            lq, gt = (each.permute(1, 2, 0).numpy() for each in (item["inputs"], item["data_samples"]["gt"]))
            differences.append(np.abs(inferencer.restore_array(lq, dataset.task) - gt / 255.0).mean())
        found.append(float(np.mean(differences)))
    return found


def handed_on(checkpoint: Path, config: Config, path: Path) -> Path:
    """A plain network's weights in a checkpoint of one that is told the task, whose other parts are as at first."""
    trained = load_checkpoint(checkpoint)["state_dict"]
    torch.manual_seed(config.randomness.seed)
    with DefaultScope.overwrite_default_scope(SCOPE):
        state = RESTORERS.build(config.model).state_dict()
    own = {f"network.{key}": value for key, value in trained.items() if key.startswith("backbone.")}
    if not own.keys() <= state.keys():
        raise ConfigError(f"'{checkpoint}' holds another network than {config.model.network.backbone.type}.")
    atomic_save({"state_dict": state | own}, path)
    return path


def _last_part(cell: Cell, trainings: Path, threads: int) -> Config:
    """What a cell's training ends with, from the weights of what comes before it."""
    way, folder = cell.way, trainings / f"{cell.run.folder}_before"
    if way.shares:
        start = train(cell.half(trainings), folder, threads)
        config = cell.half(trainings, errors(start, cell.half(trainings)) if way.shares == "loss" else None)
    elif way.first:
        start, config = train(cell.before(trainings), folder, threads), cell.parted(trainings)
        if way.config == TOLD:
            start = handed_on(start, config, folder / "start.pth")
    else:
        return cell.config(trainings)
    config.load_from = str(start)
    return config


def carry_out(cell: Cell, out: Path, threads: int) -> None:
    """Trains and measures a cell unless that is done."""
    path, trainings = out / "results" / cell.file, out / cell.place
    if path.is_file():
        return
    if cell.way.pretrained:
        first = pretraining(cell.seed, cell.settings)
        train(prepare(first, trainings), trainings / first.folder, threads)
    torch.set_num_threads(threads)
    checkpoint = train(_last_part(cell, trainings, threads), trainings / cell.run.folder, threads)
    inferencer = RestorationInferencer(str(checkpoint), device="cpu")
    if cell.way.local:
        pool_locally(inferencer.restorer.backbone, Config.fromfile(REPO / cell.settings).patch)
    found = {mode: measure(cell, inferencer, mode) for mode in cell.way.modes}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, "w", encoding="utf-8") as file:
        json.dump(found, file)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "table", "earlier"))
    parser.add_argument("--out", default="work_dirs/generalisation", help="folder of the trainings and of results/")
    parser.add_argument("--results", default=RESULTS, help="folder of what is tabulated")
    parser.add_argument("--seeds", type=positive_int, default=SEEDS)
    parser.add_argument("--threads", type=positive_int, default=1, help="threads of the trainings")
    names = sorted({way.name for way in (*ONE, *TEN)})
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"these alone of {', '.join(names)}")
    args = parser.parse_args()
    if args.command == "table":
        print_tables(Path(args.results), args.seeds)
        return 0
    if args.command == "earlier":
        print(earlier(EARLIER))
        return 0
    for cell in all_cells(args.seeds):
        if cell.way.name in (args.only or names):
            carry_out(cell, Path(args.out), args.threads)
            print(cell.file, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
