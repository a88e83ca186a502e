"""Trains the method, its ablations and plain training small, side by side, and tabulates them.

    DTIR_DATA=DATA python tools/analysis/lab_method.py run
    python tools/analysis/lab_method.py table

DATA holds clean/, train_pairs/, real10/ and generalization/. Every run is one of configs/dtir or configs/ablations with
the settings of configs/_base_/lab/method.py laid over it. Runs that share a seed share the generative
pre-training. Killed at any moment, the command goes on from the last checkpoints when it is run again.
"""

import argparse
import concurrent.futures
import copy
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

from dtir.apis import RestorationInferencer
from dtir.datasets import PairedDataset
from dtir.engine.checkpoint import load_checkpoint
from dtir.evaluation.metrics.functional import psnr, ssim, to_8_bit
from dtir.registry import RESTORERS, SCOPE
from dtir.tasks import TASKS
from dtir.utils.atomic import atomic_save, atomic_write
from dtir.utils.image_io import read_rgb
from dtir.utils.launch import load_config

REPO = Path(__file__).resolve().parents[2]
LAB = "configs/_base_/lab/method.py"
FULL, SINGLE, PLAIN = "dtir/dtir_unet_10task", "dtir/dtir_unet_deraining", "ablations/plain_joint"


@dataclass(frozen=True)
class Run:
    """One training of the comparison.

    Attributes:
        name: What it is called in the table.
        config: Below configs/, without the suffix.
        seed: Of the whole run.
        pairs: Folder of train_pairs/ if one task is trained, else None for ten.
        longer: Factor on the iterations.
    """

    name: str
    config: str
    seed: int = 0
    pairs: str | None = None
    longer: float = 1.0

    @property
    def folder(self) -> str:
        """Of its results."""
        return f"{self.name}_seed{self.seed}".replace(" ", "_").replace("/", "_").replace(":", "")

    @property
    def task(self) -> str | None:
        """The one task that is trained, if it is one."""
        return self.pairs and {"rainy-light": "rainy"}.get(self.pairs, self.pairs)


# As tools/_env.sh sets them.
ENVIRONMENT = {
    "GOMP_SPINCOUNT": "20000",
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
}
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


def all_runs(seeds: int) -> list[Run]:
    """The main pair, the generalisation pairs, the ablations, and the main pair again with the other seeds."""
    main = [[Run("plain", PLAIN, s), Run("full", FULL, s)] for s in range(seeds)]
    longer = [Run("plain, all steps", PLAIN, s, longer=3.5) for s in range(seeds)]
    single = [
        [Run(f"plain {name}", PLAIN, s, pairs), Run(f"full {name}", SINGLE, s, pairs)]
        for s in range(min(seeds, 2))
        for name, pairs in PAIRS.items()
    ]
    ablations = [Run(f"w/o {part}", f"ablations/wo_{part}") for part in ABLATIONS]
    first_single, other_single = single[: len(PAIRS)], single[len(PAIRS) :]
    groups = [main[0], *first_single, ablations, *main[1:], longer, *other_single]
    return list(chain.from_iterable(groups))


def lab_config(run: Run, out: Path) -> Config:
    """The run's config, small."""
    config = load_config(REPO / "configs" / f"{run.config}.py", work_dir=out / run.folder)
    lab = Config.fromfile(REPO / LAB)
    tasks = [run.task] if run.task else list(config.model.tasks)
    sets = [copy.deepcopy(lab.train_sets[task]) for task in tasks]
    if run.pairs:
        sets[0].data_root = f"train_pairs/{run.pairs}"
    config.model.tasks = tasks
    config.train_dataloader = {
        "batch_size": 8,
        "num_workers": 1,
        "dataset": {"type": "MultiTaskDataset", "datasets": sets},
    }
    if "network" in config.model:
        config.model.network.backbone, config.model.restoration_loss = lab.backbone, lab.loss
        if config.model.network.get("adapter"):
            config.model.network.adapter.rank = lab.adapter_rank
    else:
        config.model.backbone, config.model.losses = lab.backbone, [lab.loss]
    table = {**lab.stages, **(lab.single_stages if run.pairs else {})}
    config.train_cfg.stages = [_lab_stage(stage, table, run, config) for stage in config.train_cfg.stages]
    config.train_cfg.val_interval = 0
    config.optim_wrapper.optimizer, config.optim_wrapper.clip_grad = lab.optimizer, 1.0
    config.merge_from_dict({"default_hooks.checkpoint.interval": 500, "default_hooks.checkpoint.max_keep": 1})
    config.randomness = {"seed": run.seed}
    for regularizer in config.train_cfg.get("regularizers", []):
        regularizer.update({"weight": lab.importance_weight} if regularizer.type == "ParameterImportance" else {})
    for hook in config.custom_hooks:
        hook.update({"num_images": 8, "distinct": True} if hook.type == "TimestepMatchingHook" else {})
    for key in ("val_dataloader", "val_cfg", "val_evaluator", "test_dataloader", "test_cfg", "test_evaluator"):
        config[key] = None
    return config


def _lab_stage(stage: dict, table: dict, run: Run, config: Config) -> dict:
    small = dict(table[stage.name])
    if stage.name == "finetune" and len(config.train_cfg.stages) <= 2 and not run.pairs:
        # All tasks at once for as long as the fine-tuning and the incremental stages take together.
        small = dict(table["train"])
    small["iters"] = (
        [int(n * run.longer) for n in small["iters"]] if stage.get("per_task") else int(small["iters"] * run.longer)
    )
    return {**stage, **small, "validate": False}


def pretraining(seed: int) -> Run:
    """The generative pre-training that the runs of a seed share."""
    return Run("pretrain", FULL, seed)


def prepare(run: Run, out: Path) -> Path:
    """Writes the run's config, and the weights it starts from; returns the config's path."""
    config = lab_config(run, out)
    stages = config.train_cfg.stages
    if run.name == "pretrain":
        config.train_cfg.stages = stages[:1]
        config.train_cfg.regularizers, config.custom_hooks = [], [{"type": "StageEMAHook", "decay": 0.999}]
    elif stages[0].name == "pretrain":
        config.train_cfg.stages = stages[1:]
        config.load_from = str(_start(run, config, out))
    folder = out / run.folder
    folder.mkdir(parents=True, exist_ok=True)
    config.dump(folder / "lab.py")
    return folder / "lab.py"


def _start(run: Run, config: Config, out: Path) -> Path:
    """The shared pre-training as a checkpoint of the run's own model, which may lack adapters or have other tasks."""
    source = out / pretraining(run.seed).folder
    trained = load_checkpoint(source / last_checkpoint(source))
    with DefaultScope.overwrite_default_scope(SCOPE):
        model = RESTORERS.build(config.model)
    state = model.state_dict()
    # Adapters are as they were at first.
    state.update({k: trained["state_dict"][k] for k in state if k.startswith("network.") and ".adapters." not in k})
    path = out / run.folder / "start.pth"
    atomic_save({"state_dict": state}, path)
    return path


def last_checkpoint(folder: Path) -> str:
    """Name of the newest checkpoint."""
    return (folder / "last_checkpoint").read_text().strip()


def carry_out(run: Run, out: Path, threads: int) -> str:
    """Trains and measures a run unless that is done; returns a line about it."""
    folder = out / run.folder
    done = folder / "trained"
    if not done.is_file():
        config = prepare(run, out)
        environment = {**os.environ, **ENVIRONMENT, "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, str(REPO / "tools/train.py"), str(config), "--work-dir", str(folder)]
        # Weights to start from are read only while there is nothing to resume.
        command += ["--resume"] if (folder / "last_checkpoint").is_file() else []
        with open(folder / "out.log", "a") as log:
            subprocess.run(command, env=environment, stdout=log, stderr=log, check=True)
        done.write_text(last_checkpoint(folder))
    if run.name != "pretrain" and not (folder / "results.json").is_file():
        torch.set_num_threads(threads)
        results = measure(run, folder / last_checkpoint(folder))
        with atomic_write(folder / "results.json", "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
    return run.folder


def measure(run: Run, checkpoint: Path) -> dict[str, dict[str, list[float]]]:
    """PSNR and SSIM (protocol rgb) of every picture of the test sets, by set."""
    inferencer = RestorationInferencer(str(checkpoint), device="cpu")
    results = {}
    for label, (root, task) in test_sets(run, inferencer.tasks).items():
        values: dict[str, list[float]] = {"PSNR": [], "SSIM": []}
        for record in PairedDataset(task, root).records:
            restored = _picture(inferencer.restore_array(read_rgb(record["lq_path"]), task))
            gt = _picture(read_rgb(record["gt_path"]))
            values["PSNR"].append(psnr(restored, gt).item())
            values["SSIM"].append(ssim(restored, gt).item())
        results[label] = values
    return results


def _picture(rgb: np.ndarray) -> Tensor:
    """(H, W, 3), uint8 or [0, 1], to (1, 3, H, W) of 8 bits in [0, 1]."""
    unit = rgb.astype(np.float64) / 255 if rgb.dtype == np.uint8 else rgb
    return to_8_bit(torch.from_numpy(np.ascontiguousarray(unit)).permute(2, 0, 1)[None])


def test_sets(run: Run, tasks: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """By label: folder of the pairs, and the task they are restored as."""
    sets = {task: (f"real10/{task}", task) for task in tasks}
    if "rainy" in tasks:
        sets["Rain100L"] = ("generalization/Rain100L", "rainy")
    if "hazy" in tasks:
        sets["REVIDE"] = ("generalization/REVIDE", "hazy")
    return sets


def run_all(args: argparse.Namespace) -> None:
    """Pre-trains, then trains what is left, `--jobs` at a time."""
    out, runs = Path(args.out), all_runs(args.seeds)
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    if args.only:
        runs = [run for run in runs if run.name in args.only]
    with concurrent.futures.ProcessPoolExecutor(args.jobs) as pool:
        list(
            pool.map(
                carry_out,
                [pretraining(seed) for seed in sorted({run.seed for run in runs})],
                repeat(out),
                repeat(threads),
            )
        )
        futures = [pool.submit(carry_out, run, out, threads) for run in runs]
        for finished, future in enumerate(concurrent.futures.as_completed(futures), start=1):
            print(f"{finished} of {len(runs)}: {future.result()}", flush=True)


def read_results(out: Path, seeds: int) -> dict[str, list[dict]]:
    """Results of the finished runs by name, one per seed."""
    found: dict[str, list[dict]] = {}
    for run in all_runs(seeds):
        file = out / run.folder / "results.json"
        if file.is_file():
            found.setdefault(run.name, []).append(json.loads(file.read_text(encoding="utf-8")))
    return found


def average(result: dict, metric: str) -> float:
    """The mean over the ten tasks of the means over their pictures."""
    return fmean(fmean(result[task][metric]) for task in TASKS if task in result)


def cell(values: list[float], digits: int = 2) -> str:
    """Mean over the seeds, and half the range where there are several."""
    spread = f" ± {(max(values) - min(values)) / 2:.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{spread}" if values else "-"


def print_tables(out: Path, seeds: int) -> None:
    """The comparison in Markdown."""
    results = read_results(out, seeds)
    ten = [name for name in results if not name.split(" ")[-1].startswith(("Rain", "SOTS"))]
    best = results.get("full", [])
    reference = fmean(average(r, "PSNR") for r in best) if best else float("nan")
    print("| training | seeds | PSNR | SSIM | against the full method |\n|---|---|---|---|---|")
    for name in ten:
        values = [average(result, "PSNR") for result in results[name]]
        ssim_values = [average(result, "SSIM") for result in results[name]]
        print(
            f"| {name} | {len(values)} | {cell(values)} | {cell(ssim_values, 3)} | {fmean(values) - reference:+.2f} |"
        )
    print("\n| task | " + " | ".join(ten) + " |\n|---|" + "---|" * len(ten))
    for task in [*TASKS, "Rain100L", "REVIDE"]:
        row = [cell([fmean(result[task]["PSNR"]) for result in results[name] if task in result]) for name in ten]
        print(f"| {task} | " + " | ".join(row) + " |")
    print("\n| trained on | tested on | plain | the method |\n|---|---|---|---|")
    for trained, tested in GENERALISATION:
        row = [[fmean(r[tested]["PSNR"]) for r in results.get(f"{kind} {trained}", [])] for kind in ("plain", "full")]
        print(f"| {trained} | {NAMES.get(tested, tested)} | " + " | ".join(cell(values) for values in row) + " |")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("--out", default="work_dirs/lab_method")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; they share the cores")
    parser.add_argument("--seeds", type=int, default=2, help="seeds of the main pair")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="runs of these names alone")
    args = parser.parse_args()
    if args.command == "run":
        run_all(args)
    else:
        print_tables(Path(args.out), args.seeds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
