"""New kinds of damage learned from few real pairs: from scratch, by fine-tuning, and by `dtir adapt`, side by side.

    DTIR_DATA=DATA python -m benchmarks.few_shot run
    python -m benchmarks.few_shot table

Networks of six kinds of damage (configs/_base_/lab/few_shot.py), trained with and without the generative pre-training
for equally many iterations in all, learn five further kinds from N pairs. All ways of learning have the same pairs, the
same iterations and the same search for the learning rate, by pairs that are held out from training; the test pictures
are others. What the old tasks lose is measured on pictures of theirs. Killed at any moment, the command goes on when it
is run again.
"""

import argparse
import functools
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from benchmarks.few_shot_cells import (
    CHOSEN_AT,
    CHOSEN_ON,
    KINDS,
    NETWORKS,
    OLD,
    SEEDS,
    WAYS,
    Cell,
    Way,
    all_cells,
    chosen_rate,
    pairs_in,
    read_results,
    to_test,
    to_train,
    ways_of,
)
from benchmarks.few_shot_tables import print_tables
from benchmarks.lab import REPO, picture, train
from benchmarks.method import centre
from benchmarks.method_runs import FULL, TOLD, Run, prepare, pretraining
from dtir.apis import RestorationInferencer
from dtir.apis.adaptation.files import save_adapted
from dtir.apis.adaptation.settings import AdaptationSettings
from dtir.apis.adaptation.teaching import Adaptation, adapt
from dtir.cli import exit_code
from dtir.cli.numbers import positive_int
from dtir.core.atomic import atomic_save, atomic_write
from dtir.core.checkpoint import load_checkpoint
from dtir.datasets import PairedDataset, SyntheticDataset
from dtir.evaluation.metrics.functional import psnr
from dtir.imaging.files import read_rgb
from dtir.registry import RESTORERS, SCOPE

SETTINGS = "configs/_base_/lab/few_shot.py"
# Side of the centre of the pictures that is measured.
MEASURED = 160
# Pairs of each old task that are replayed.
REPLAYED = 6
COMMON = {"iters": 160, "interval": 80, "batch_size": 4, "patch": 48}


def pairs_of(cell: Cell, out: Path) -> Path:
    """A folder with the cell's pairs, chosen by its seed."""
    folder = out / "pairs" / Path(cell.file).stem
    records = to_train(cell.kind)
    order = np.random.default_rng((cell.seed, 5)).permutation(len(records))
    for index in order[: cell.pairs].tolist():
        for key, name in (("lq_path", "LQ"), ("gt_path", "GT")):
            source = Path(records[index][key])
            target = folder / name / source.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                shutil.copyfile(source, target)
    return folder


@functools.cache
def replay_of(seed: int, out: Path) -> Path:
    """A folder with a few pairs of each old task, of those that the networks were trained on."""
    folder, lab = out / "replay" / str(seed), Config.fromfile(REPO / SETTINGS)
    for task in OLD:
        options = {key: value for key, value in lab.train_sets[task].items() if key != "type"}
        kind = {"SyntheticDataset": SyntheticDataset, "PairedDataset": PairedDataset}[lab.train_sets[task].type]
        if kind is SyntheticDataset:
            options["eval_crop"] = MEASURED
        dataset = kind(**options, seed=seed)
        chosen = np.random.default_rng((seed, 6)).choice(len(dataset), REPLAYED, replace=False)
        for number, index in enumerate(chosen.tolist()):
            item = dataset[index]
            for name, tensor in (("LQ", item["inputs"]), ("GT", item["data_samples"]["gt"])):
                target = folder / task / name / f"{number}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(target), tensor.permute(1, 2, 0).numpy()[..., ::-1])
    return folder


@functools.cache
def base_of(name: str, seed: int, out: Path, threads: int) -> Path:
    """The checkpoint that a way starts from; trained unless that is done."""
    folder = out / "bases"
    told = Run("told, equal total steps", TOLD, seed, long=True, settings=SETTINGS, tasks=OLD)
    full = Run("full", FULL, seed, settings=SETTINGS, tasks=OLD)
    generative = replace(pretraining(seed, SETTINGS), tasks=OLD)
    if name == "told":
        return train(prepare(told, folder), folder / told.folder, threads)
    trained = train(prepare(generative, folder), folder / generative.folder, threads) if name != "untrained" else None
    if name == "method":
        return train(prepare(full, folder), folder / full.folder, threads)
    return _labelled(prepare(told, folder).model.to_dict(), trained, folder / f"{name}_seed{seed}.pth", seed)


def _labelled(config: dict, trained: Path | None, path: Path, seed: int) -> Path:
    """The told network before any restoration, untrained or with the weights of the generative pre-training."""
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope(SCOPE):
        state = RESTORERS.build(config).state_dict()
    if trained is not None:
        weights = load_checkpoint(trained)["state_dict"]
        state.update({key: weights[key] for key in state if key.startswith("network.")})
    atomic_save({"meta": {"model_cfg": config}, "state_dict": state}, path)
    return path


def learn(cell: Cell, way: Way, rate: float, out: Path, threads: int) -> Adaptation:
    """Carries out one adaptation."""
    replay = str(replay_of(cell.seed, out)) if way.replay else None
    settings = AdaptationSettings(**{**COMMON, **way.settings}, lr=rate, replay=replay, seed=cell.seed)
    base = base_of(way.base, cell.seed if way.base == "untrained" else cell.network, out, threads)
    return adapt(base, pairs_of(cell, out).resolve(), cell.kind.name, settings, "cpu")


def old_values(inferencer: RestorationInferencer) -> dict[str, list[float]]:
    """PSNR of the old tasks' test pictures."""
    return {task: _values(inferencer, pairs_in(f"real10/{task}"), task)["PSNR"] for task in OLD}


def _values(inferencer: RestorationInferencer, records: list[dict], task: str) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {"PSNR": [], "input": []}
    for record in records:
        lq, gt = (centre(read_rgb(record[key]), MEASURED) for key in ("lq_path", "gt_path"))
        restored = picture(inferencer.restore_array(lq, task))
        values["PSNR"].append(round(psnr(restored, picture(gt)).item(), 4))
        values["input"].append(round(psnr(picture(lq), picture(gt)).item(), 4))
    return values


def carry_out(cell: Cell, way: Way, rate: float, out: Path, threads: int) -> dict:
    """Learns and measures, unless that is done; returns what was measured."""
    path = out / "results" / cell.file
    results = read_results(path)
    key = f"{rate:g}"
    if key not in results.setdefault(way.name, {}):
        result = learn(cell, way, rate, out, threads)
        scratch = out / f"learned_{os.getpid()}.pth"
        save_adapted(result, scratch)
        inferencer = RestorationInferencer(str(scratch), device="cpu")
        measured = {
            "held_out": round(fmean(result.after), 4),
            "iters": result.history[-1][0],
            "start": result.start,
            **_values(inferencer, to_test(cell.kind), cell.kind.name),
        }
        if way.base in ("told", "method"):
            measured["old"] = old_values(inferencer)
            measured["lost"] = {name: round(value, 4) for name, value in result.lost.items()}
        scratch.unlink()
        results[way.name][key] = measured
        _write(path, results)
    return results[way.name][key]


def _write(path: Path, results: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, "w", encoding="utf-8") as file:
        json.dump(results, file)


def measure_base(name: str, out: Path, threads: int) -> None:
    """What the old tasks have before anything is learned, with the first network."""
    path = out / "results" / f"base_{name}_seed0.json"
    if not path.is_file():
        _write(path, old_values(RestorationInferencer(str(base_of(name, 0, out, threads)), device="cpu")))


def run_all(args: argparse.Namespace) -> None:
    """Searches the learning rates, then learns what is left."""
    out = Path(args.out)
    torch.set_num_threads(args.threads)
    for way in (way for way in WAYS if way.name in args.ways):
        for kind in KINDS:
            if kind.name in CHOSEN_ON and way.rate_of is None and kind.name in (args.kinds or CHOSEN_ON):
                for rate in way.rates:
                    carry_out(Cell(kind, CHOSEN_AT, 0), way, rate, out, args.threads)
        print(f"{way.name}: learning rate {chosen_rate(way, out / 'results')}", flush=True)
    for cell in all_cells(args):
        for base in ("told", "method") if cell.network == 0 else ():
            measure_base(base, out, args.threads)
        for way in (way for way in ways_of(cell) if way.name in args.ways):
            carry_out(cell, way, chosen_rate(way, out / "results"), out, args.threads)
        print(f"{cell.kind.name}, {cell.pairs} pairs, seed {cell.seed}, network {cell.network}: done", flush=True)


def main() -> int:
    """The command line."""
    names = [way.name for way in WAYS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("--out", default="work_dirs/few_shot", help="of a run: trainings, and results/")
    parser.add_argument("--results", default="benchmarks/results/few_shot", help="of the tables")
    parser.add_argument("--pairs", type=positive_int, nargs="+", default=[30, 10, 100], metavar="N")
    parser.add_argument("--kinds", nargs="+", metavar="NAME", help="these alone, in a run")
    parser.add_argument("--ways", nargs="+", default=names, choices=names, metavar="NAME", help="these alone, in a run")
    parser.add_argument("--seeds", type=positive_int, default=SEEDS)
    parser.add_argument("--networks", type=positive_int, default=NETWORKS)
    parser.add_argument("--threads", type=positive_int, default=1)
    args = parser.parse_args()
    if args.command == "run":
        run_all(args)
    else:
        print_tables(Path(args.results))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
