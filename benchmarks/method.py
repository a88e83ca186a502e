"""Trains the method, its ablations, plain training and the released recipe small, side by side, and tabulates them.

    DTIR_DATA=DATA python -m benchmarks.method run
    python -m benchmarks.method table

DATA holds clean/, train_pairs/, real10/ and generalization/. Every run is a config with the settings of
configs/_base_/lab/method.py, or of another file (`--settings`), laid over it. Runs that share a seed share the
generative pre-training. Killed at any moment, the command goes on from the last checkpoints when it is run again.
"""

import argparse
import concurrent.futures
import copy
import json
import os
import re
import sys
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from benchmarks.lab import REPO, markdown, picture, small_training, train
from dtir.apis import RestorationInferencer
from dtir.apis.models.build import load_restorer
from dtir.apis.models.packing import with_estimator
from dtir.cli import exit_code
from dtir.cli.launching import load_config
from dtir.cli.numbers import positive_int
from dtir.core.atomic import atomic_save, atomic_write
from dtir.core.checkpoint import find_last_checkpoint, load_checkpoint
from dtir.datasets import PairedDataset
from dtir.evaluation.metrics.functional import psnr, ssim
from dtir.evaluation.statistics import difference_interval
from dtir.imaging.files import read_rgb
from dtir.registry import RESTORERS, SCOPE
from dtir.tasks import TASKS

LAB = "configs/_base_/lab/method.py"
FULL, SINGLE, PLAIN = "dtir/dtir_unet_10task", "dtir/dtir_unet_deraining", "ablations/plain_joint"
BRIEF = "dtir/dtir_unet_10task_brief"
TOLD, RELEASED = "baselines/dtir_unet_told_10task", "eedtp/eedtp_10task"
BLIND, APART = ", step estimated", ", task estimated apart"
ESTIMATOR = "models/universal_estimator"
REFERENCE = "told, equal total steps"


@dataclass(frozen=True)
class Run:
    """One training of the comparison.

    Attributes:
        name: What it is called in the table.
        config: Below configs/, without the suffix.
        seed: Seed of the whole run.
        pairs: Folder of train_pairs/ if one task is trained, else None for ten.
        long: Whether plain training goes on for as many iterations as the pre-training and the restoration together.
        settings: File of the settings that are laid over the config.
        tasks: Those that are trained where they are several and not all ten.
    """

    name: str
    config: str
    seed: int = 0
    pairs: str | None = None
    long: bool = False
    settings: str = LAB
    tasks: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """The folder of its results."""
        return re.sub(r"\W+", "_", f"{self.name}_seed{self.seed}")

    @property
    def task(self) -> str | None:
        """The one task that is trained, if it is one."""
        return self.pairs and {"rainy-light": "rainy"}.get(self.pairs, self.pairs)


TRAINING_HOOKS = ("StageEMAHook", "TimestepMatchingHook", "BlindTaskHook")
# Runs that are told the task, and are measured with that estimated as well.
WITH_ESTIMATOR = (REFERENCE, "full", "brief")
ABLATIONS = ["tmgp", "gef", "importance", "orthogonality", "matched_t", "layer_decay", "tit", "moe"]
PAIRS = {"Rain100L": "rainy-light", "Rain100H": "rainy", "SOTS": "hazy"}
# Trained on, tested on: the first of each pair of lines is the distribution of the training.
GENERALISATION = [
    ("Rain100L", "Rain100L"),
    ("Rain100L", "rainy"),
    ("Rain100H", "rainy"),
    ("Rain100H", "Rain100L"),
    ("SOTS", "hazy"),
    ("SOTS", "REVIDE"),
]
NAMES = {"rainy": "Rain100H", "hazy": "SOTS"}


def all_runs(seeds: int, settings: str = LAB) -> list[Run]:
    """The rows of a fair comparison, then the ablations and the generalisation pairs."""
    rows = [
        Run("plain", PLAIN),
        Run("told", TOLD),
        Run("told, equal total steps", TOLD, long=True),
        Run("full", FULL),
        Run("brief", BRIEF),
        Run("released", RELEASED),
        Run("plain, equal total steps", PLAIN, long=True),
    ]
    main = [replace(row, seed=seed) for seed in range(seeds) for row in rows]
    single = [
        run
        for seed in range(min(seeds, 2))
        for name, pairs in PAIRS.items()
        for run in (Run(f"plain {name}", PLAIN, seed, pairs), Run(f"full {name}", SINGLE, seed, pairs))
    ]
    ablations = [Run(f"w/o {part}", f"ablations/wo_{part}") for part in ABLATIONS]
    return [replace(run, settings=settings) for run in (*main, *ablations, *single)]


def lab_config(run: Run, out: Path) -> Config:
    """The run's config, small."""
    config = load_config(REPO / "configs" / f"{run.config}.py", work_dir=out / run.folder)
    lab = Config.fromfile(REPO / run.settings)
    tasks = [run.task] if run.task else list(run.tasks or config.model.tasks)
    sets = [{**copy.deepcopy(lab.train_sets[task]), "patch": lab.patch} for task in tasks]
    if run.pairs:
        sets[0]["data_root"] = f"train_pairs/{run.pairs}"
    small_training(config, tasks, sets, lab.optimizer, run.seed)
    _small_model(config.model, lab)
    table = {**lab.stages, **(lab.single_stages if len(tasks) == 1 else {})}
    config.train_cfg.stages = [_lab_stage(stage, table, run, config) for stage in config.train_cfg.stages]
    for regularizer in config.train_cfg.get("regularizers", []):
        regularizer.update(lab.importance if regularizer.type == "ParameterImportance" else {})
    # The others report on validations, of which there are none here.
    config.custom_hooks = [hook for hook in config.custom_hooks if hook.type in TRAINING_HOOKS]
    for hook in config.custom_hooks:
        hook.update(lab.matching if hook.type == "TimestepMatchingHook" else {})
    return config


def _small_model(model: dict, lab: Config) -> None:
    """The settings' network and loss; the released recipe keeps its own kind of network and its losses."""
    if "network" not in model:
        model.backbone, model.losses = lab.backbone, [lab.loss]
    elif model.network.type == "OwnTime":
        model.network.backbone.update(lab.released_backbone)
    else:
        model.network.backbone = lab.backbone
        # One loss for both objectives, so that a generative sample counts as much as a restoring one.
        model.restoration_loss = model.generative_loss = lab.loss
        if model.network.get("adapter"):
            model.network.adapter.rank = lab.adapter_rank


def _lab_stage(stage: dict, table: dict, run: Run, config: Config) -> dict:
    names = [other.name for other in config.train_cfg.stages]
    small = dict(table["incremental" if stage.name.startswith("joint") else stage.name])
    if stage.name.startswith("joint"):
        # Without the order of the tasks, stages of the same lengths.
        small["iters"] = small["iters"][int(stage.name.removeprefix("joint_")) - 1]
    elif stage.name == "incremental" and "finetune" not in names:
        # The released recipe has nothing but incremental stages: as long in all, and of one length.
        small = {**table["train"], "iters": [table["train"]["iters"] // 10] * 10}
        del small["warmup_iters"]
    if run.long:
        small["iters"] += table["pretrain"]["iters"]
    elif stage.name == "train" and "primer" in names:
        # As many in all as with the pre-training of the others.
        small["iters"] += table["pretrain"]["iters"] - table["primer"]["iters"]
    return {**stage, **small, "validate": False}


def pretraining(seed: int, settings: str = LAB) -> Run:
    """The generative pre-training that the runs of a seed share."""
    return Run("pretrain", FULL, seed, settings=settings)


def prepare(run: Run, out: Path) -> Config:
    """The run's config without the pre-training that it shares, and with the weights it starts from."""
    config = lab_config(run, out)
    stages = config.train_cfg.stages
    if run.name == "pretrain":
        config.train_cfg.stages = stages[:1]
        config.train_cfg.regularizers, config.custom_hooks = [], [{"type": "StageEMAHook", "decay": 0.999}]
    elif stages[0].name == "pretrain" and run.config != RELEASED:
        config.train_cfg.stages = stages[1:]
        config.load_from = str(_start(run, config, out))
    return config


def _start(run: Run, config: Config, out: Path) -> Path:
    """The shared pre-training as a checkpoint of the run's own model, which may lack adapters or have other tasks."""
    trained = load_checkpoint(find_last_checkpoint(out / pretraining(run.seed, run.settings).folder))
    with DefaultScope.overwrite_default_scope(SCOPE):
        model = RESTORERS.build(config.model)
    state = model.state_dict()
    # Adapters are as they were at first.
    state.update({k: trained["state_dict"][k] for k in state if k.startswith("network.") and ".adapters." not in k})
    path = out / run.folder / "start.pth"
    atomic_save({"state_dict": state}, path)
    return path


def train_estimator(seed: int, settings: str, out: Path, threads: int) -> Path:
    """Trains an estimator of the ten tasks by itself, on larger crops of the same data; returns its checkpoint."""
    run = Run("estimator", ESTIMATOR, seed, settings=settings)
    config = load_config(REPO / f"configs/{ESTIMATOR}.py", work_dir=out / run.folder)
    lab = Config.fromfile(REPO / settings)
    sets = [{**copy.deepcopy(lab.train_sets[task]), "patch": lab.estimator.patch} for task in TASKS]
    small_training(config, list(TASKS), sets, lab.optimizer, seed)
    config.train_cfg.stages = [{"name": "estimator", **lab.estimator}]
    config.custom_hooks = [hook for hook in config.custom_hooks if hook.type != "ReportHook"]
    return train(config, out / run.folder, threads)


def measure_apart(run: Run, out: Path, threads: int) -> None:
    """Measures a trained run with the task estimated by the estimator of its seed that was trained by itself."""
    target = out / run.folder / "results_apart.json"
    if target.is_file():
        return
    estimator = train_estimator(run.seed, run.settings, out, threads)
    torch.set_num_threads(threads)
    restorer = with_estimator(load_restorer(find_last_checkpoint(out / run.folder)), estimator)
    _write(target, measure(run, RestorationInferencer(restorer, device="cpu"), blind=True))


def carry_out(run: Run, out: Path, threads: int) -> str:
    """Trains and measures a run, as far as that is not done; returns its folder."""
    folder = out / run.folder
    checkpoint = train(prepare(run, out), folder, threads)
    if run.name == "pretrain":
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
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    if args.only:
        runs = [run for run in runs if run.name in args.only]
    with concurrent.futures.ProcessPoolExecutor(args.jobs) as pool:
        list(
            pool.map(
                carry_out,
                [pretraining(seed, args.settings) for seed in sorted({run.seed for run in runs if _pretrained(run)})],
                repeat(out),
                repeat(threads),
            )
        )
        futures = [pool.submit(carry_out, run, out, threads) for run in runs]
        for finished, future in enumerate(concurrent.futures.as_completed(futures), start=1):
            print(f"{finished} of {len(runs)}: {future.result()}", flush=True)


def _pretrained(run: Run) -> bool:
    return run.config not in (PLAIN, TOLD, RELEASED, BRIEF, "ablations/wo_tmgp")


def read_results(out: Path, seeds: int) -> dict[str, dict[int, dict]]:
    """Results of the finished runs, by name and seed."""
    found: dict[str, dict[int, dict]] = {}
    for run in all_runs(seeds):
        for suffix, file in (("", "results.json"), (BLIND, "results_blind.json"), (APART, "results_apart.json")):
            name, path = run.name + suffix, out / run.folder / file
            if path.is_file():
                found.setdefault(name, {})[run.seed] = json.loads(path.read_text(encoding="utf-8"))
    return found


def average(result: dict, metric: str) -> float:
    """The mean over the ten tasks of the means over their pictures."""
    return fmean(fmean(result[task][metric]) for task in TASKS)


def set_means(results: dict[int, dict], label: str) -> list[float]:
    """Mean PSNR of a test set for every seed."""
    return [fmean(result[label]["PSNR"]) for result in results.values()]


def cell(values: list[float], digits: int = 2) -> str:
    """Mean over the seeds, and their standard deviation where there are several."""
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{spread}" if values else "-"


def over_seeds(results: dict[int, dict], seeds: list[int]) -> dict[str, list[float]]:
    """PSNR of every picture of the ten tasks, the mean over seeds."""
    return {
        task: [fmean(values) for values in zip(*(results[seed][task]["PSNR"] for seed in seeds), strict=True)]
        for task in TASKS
    }


def compared(results: dict[int, dict], reference: dict[int, dict]) -> str:
    """How much the average PSNR is above a reference's at the seeds that both have, with a 95 % interval."""
    seeds = sorted(results.keys() & reference.keys())
    if not seeds or results is reference:
        return "-"
    low, high = difference_interval(over_seeds(results, seeds), over_seeds(reference, seeds))
    difference = fmean(average(results[s], "PSNR") - average(reference[s], "PSNR") for s in seeds)
    return f"{difference:+.2f} [{low:+.2f}, {high:+.2f}]"


def worst(results: dict[int, dict]) -> str:
    """The smallest gain over the input of any picture of the ten tasks at any seed, where inputs were measured."""
    gains = [
        restored - before
        for result in results.values()
        for task in TASKS
        for restored, before in zip(result[task]["PSNR"], result[task].get("input", []), strict=False)
    ]
    return f"{min(gains):+.1f}" if gains else "-"


def ten_task_table(results: dict[str, dict[int, dict]]) -> str:
    """Averages over the ten tasks, beside the training that is told the task for as many steps in all."""
    reference = results.get(REFERENCE, results.get("full", {}))
    rows = []
    for name, by_seed in results.items():
        psnrs, ssims = ([average(result, key) for result in by_seed.values()] for key in ("PSNR", "SSIM"))
        row = [name, len(by_seed), cell(psnrs), cell(ssims, 3), compared(by_seed, reference), worst(by_seed)]
        rows.append(row)
    against = f"against {REFERENCE if REFERENCE in results else 'full'}"
    return markdown(["training", "seeds", "PSNR", "SSIM", against, "worst gain of a picture"], rows)


def task_table(results: dict[str, dict[int, dict]]) -> str:
    """Mean PSNR of every set, a training a row."""
    labels = [*TASKS, "Rain100L", "REVIDE"]
    rows = [[name, *(cell(set_means(by_seed, label)) for label in labels)] for name, by_seed in results.items()]
    return markdown(["training", *labels], rows)


def generalisation_table(results: dict[str, dict[int, dict]]) -> str:
    """Networks of one task on the set that they were trained for, and on another."""
    rows = [
        [trained, NAMES.get(tested, tested)]
        + [cell(set_means(results.get(f"{kind} {trained}", {}), tested)) for kind in ("plain", "full")]
        for trained, tested in GENERALISATION
    ]
    return markdown(["trained on", "tested on", "plain", "the method"], rows)


def print_tables(out: Path, seeds: int) -> None:
    """The comparison in Markdown."""
    results = read_results(out, seeds)
    singles = {run.name for run in all_runs(seeds) if run.pairs}
    ten = {name: by_seed for name, by_seed in results.items() if name not in singles}
    tables = [ten_task_table(ten), task_table(ten)]
    if singles & results.keys():
        tables.append(generalisation_table(results))
    print(*tables, sep="\n\n")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("--out", default="work_dirs/lab_method")
    parser.add_argument("--jobs", type=positive_int, default=1, help="runs at a time; they share the cores")
    parser.add_argument("--seeds", type=positive_int, default=2, help="seeds of the main pair")
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
