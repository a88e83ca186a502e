"""Trains the method, its ablations, plain training and the released recipe small, side by side, and tabulates them.

    DTIR_DATA=DATA python -m benchmarks.method run
    python -m benchmarks.method table

DATA holds clean/, train_pairs/, real10/ and generalization/. Every run is a config with the settings of
configs/_base_/lab/method.py, or of another file (`--settings`), laid over it. Runs that share a seed share the
generative pre-training. Killed at any moment, the command goes on from the last checkpoints when it is run again.
"""

import argparse
import concurrent.futures
import json
import sys
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config

from benchmarks.lab import REPO, picture, train
from benchmarks.method_runs import (
    BRIEF,
    LAB,
    PLAIN,
    REFERENCE,
    RELEASED,
    TOLD,
    Run,
    all_runs,
    estimator,
    prepare,
    pretraining,
)
from benchmarks.method_tables import print_tables
from dtir.apis import RestorationInferencer
from dtir.apis.models.build import load_restorer
from dtir.apis.models.packing import with_estimator
from dtir.cli import exit_code
from dtir.cli.numbers import positive_int
from dtir.core.atomic import atomic_write
from dtir.core.checkpoint import find_last_checkpoint
from dtir.core.cores import usable_cores
from dtir.datasets import PairedDataset
from dtir.evaluation.metrics.functional import psnr, ssim
from dtir.imaging.files import read_rgb

# Runs of which others need the weights alone.
SHARED = {"pretrain": pretraining, "estimator": estimator}
# Runs that are told the task, and are measured with that estimated as well.
WITH_ESTIMATOR = (REFERENCE, "full", "brief")


def measure_apart(run: Run, out: Path, threads: int) -> None:
    """Measures a trained run with the task estimated by the estimator of its seed that was trained by itself."""
    target = out / run.folder / "results_apart.json"
    if target.is_file():
        return
    apart = estimator(run.seed, run.settings)
    checkpoint = train(prepare(apart, out), out / apart.folder, threads)
    torch.set_num_threads(threads)
    restorer = with_estimator(load_restorer(find_last_checkpoint(out / run.folder)), checkpoint)
    _write(target, measure(run, RestorationInferencer(restorer, device="cpu"), blind=True))


def carry_out(run: Run, out: Path, threads: int) -> str:
    """Trains and measures a run, as far as that is not done; returns its folder."""
    folder = out / run.folder
    checkpoint = train(prepare(run, out), folder, threads)
    if run.name in SHARED:
        return run.folder
    if not (folder / "results.json").is_file():
        torch.set_num_threads(threads)
        inferencer = RestorationInferencer(str(checkpoint), device="cpu")
        if getattr(inferencer.restorer, "estimator", None) is not None and inferencer.restorer.num_timesteps:
            _write(folder / "results_blind.json", measure(run, inferencer, blind=True))
        _write(folder / "results.json", measure(run, inferencer))
    if run.name in WITH_ESTIMATOR:
        measure_apart(run, out, threads)
    return run.folder


def _write(path: Path, results: dict) -> None:
    with atomic_write(path, "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)


def measure(run: Run, inferencer: RestorationInferencer, blind: bool = False) -> dict[str, dict[str, list[float]]]:
    """PSNR and SSIM (protocol rgb) of every picture of the test sets, and the PSNR of the input, by set.

    Args:
        run: Names the settings, whose `test_crop` is the side of the centre that is measured, None for all.
        inferencer: Inferencer of the trained network.
        blind: Whether the task is estimated from the picture, and not told.
    """
    side = Config.fromfile(REPO / run.settings).test_crop
    results = {}
    for label, (root, task) in test_sets(run, inferencer.tasks).items():
        values: dict[str, list[float]] = {"PSNR": [], "SSIM": [], "input": []}
        for record in PairedDataset(task, root).records:
            lq, gt = (centre(read_rgb(record[key]), side) for key in ("lq_path", "gt_path"))
            restored = picture(inferencer.restore_array(lq, "auto" if blind else task))
            values["PSNR"].append(psnr(restored, picture(gt)).item())
            values["SSIM"].append(ssim(restored, picture(gt)).item())
            values["input"].append(psnr(picture(lq), picture(gt)).item())
        results[label] = values
    return results


def centre(rgb: np.ndarray, side: int | None) -> np.ndarray:
    """The middle of a picture (H, W, 3), at most `side` high and wide."""
    if side is None:
        return rgb
    top, left = (max(0, (length - side) // 2) for length in rgb.shape[:2])
    return np.ascontiguousarray(rgb[top : top + side, left : left + side])


def test_sets(run: Run, tasks: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """The folder of the pairs and the task they are restored as, by label."""
    sets = {task: (f"real10/{task}", task) for task in tasks}
    if "rainy" in tasks:
        sets["Rain100L"] = ("generalization/Rain100L", "rainy")
    if "hazy" in tasks:
        sets["REVIDE"] = ("generalization/REVIDE", "hazy")
    return sets


def run_all(args: argparse.Namespace) -> None:
    """Pre-trains, then trains what is left, `--jobs` at a time."""
    out, runs = Path(args.out), all_runs(args.seeds, args.settings)
    threads = max(1, usable_cores() // args.jobs)
    if args.only:
        runs = [run for run in runs if run.name in args.only]
    shared = {pretraining(run.seed, args.settings) for run in runs if _pretrained(run)}
    shared |= {estimator(run.seed, args.settings) for run in runs if run.name in WITH_ESTIMATOR}
    alone = [SHARED[name] for name in args.only or () if name in SHARED]
    shared |= {build(seed, args.settings) for build in alone for seed in range(args.seeds)}
    with concurrent.futures.ProcessPoolExecutor(args.jobs) as pool:
        list(pool.map(carry_out, sorted(shared, key=lambda run: run.folder), repeat(out), repeat(threads)))
        futures = [pool.submit(carry_out, run, out, threads) for run in runs]
        for finished, future in enumerate(concurrent.futures.as_completed(futures), start=1):
            print(f"{finished} of {len(runs)}: {future.result()}", flush=True)


def _pretrained(run: Run) -> bool:
    return run.config not in (PLAIN, TOLD, RELEASED, BRIEF, "ablations/wo_tmgp")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("--out", default="work_dirs/lab_method")
    parser.add_argument("--jobs", type=positive_int, default=1, help="runs at a time; they share the cores")
    parser.add_argument("--seeds", type=positive_int, default=2, help="of the rows; the ablations have three at most")
    parser.add_argument("--settings", default=LAB, help="file of what is laid over the configs")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="runs of these names alone")
    args = parser.parse_args()
    if args.command == "run":
        run_all(args)
    else:
        print_tables(Path(args.out), args.seeds)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
