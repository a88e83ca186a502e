"""Trains one small network under every process of the family on one task, and measures fidelity against steps.

    DTIR_DATA=DATA python -m benchmarks.diffusion run
    DTIR_DATA=DATA python -m benchmarks.diffusion table --plot docs/images/diffusion_steps.png
    DTIR_DATA=DATA python -m benchmarks.diffusion run --iters 6000 --seeds 2 --metrics LPIPS dists --out longer
    DTIR_DATA=DATA python -m benchmarks.diffusion estimates --side 288 --out longer
    DTIR_DATA=DATA python -m benchmarks.diffusion references --side 288 --metrics NIQE --pristine niqe_clean.npz

DATA holds train_pairs/rainy and real10/rainy. Every run is a config of configs/diffusion with the network, data and
length of this file laid over it. Killed at any moment, the command goes on when it is run again; with another --side or
further metrics, it measures again what it has trained. Metrics that are named judge beside PSNR and SSIM; the files
that they need have to be there. `estimates` measures what the trained networks know of the clean picture along the way,
for `table` to print. `references` prints what they say of the input, and of the GT whole and damaged.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch
from mmengine.config import Config

from benchmarks.diffusion_estimates import print_estimates, write_estimates
from benchmarks.diffusion_measure import (
    SIDE,
    STEPS,
    TASK,
    build_judges,
    measure,
    print_references,
    require_measurable,
    shown,
    test_pictures,
)
from benchmarks.lab import REPO, TRAINED, check_length, markdown, small_training, train
from dtir.apis.models.build import load_restorer
from dtir.cli import exit_code
from dtir.cli.launching import load_config
from dtir.cli.numbers import positive_int
from dtir.core.atomic import atomic_write
from dtir.core.checkpoint import find_last_checkpoint
from dtir.core.cores import usable_cores
from dtir.core.errors import ConfigError
from dtir.evaluation.metrics import PictureMetric
from dtir.evaluation.metrics.functional import psnr, to_8_bit
from dtir.models.restorers import Restorer
from dtir.registry import SAMPLERS

TRAINING = {"type": "PairedDataset", "task": TASK, "data_root": "train_pairs/rainy", "patch": 64}
NETWORK = {
    "type": "ConditionalNAFNet",
    "width": 16,
    "enc_blk_nums": [1, 1],
    "middle_blk_num": 1,
    "dec_blk_nums": [1, 1],
}
REGRESSION = {"type": "NAFNet", "width": 16, "enc_blk_nums": [1, 1], "middle_blk_num": 1, "dec_blk_nums": [1, 1]}
OPTIMIZER = {"type": "AdamW", "lr": 1e-3, "betas": (0.9, 0.99)}
FIDELITY = ("PSNR", "SSIM")
MARKERS = "osv^D<>Pp*XhH+"
# Config, and what is laid over it beside the network: samplers that reach few steps.
PROCESSES: dict[str, tuple[str, dict]] = {
    "regression": ("baselines/nafnet_deblurring", {}),
    "IR-SDE, SDE": ("diffusion/irsde_deraining", {}),
    "IR-SDE, posterior": ("diffusion/irsde_deraining", {"sampler": {"type": "PosteriorSampler"}}),
    "GOUB, mean ODE": ("diffusion/goub_deraining", {}),
    "I2SB": ("diffusion/i2sb_deraining", {}),
    "DDBM-VP, hybrid": ("diffusion/ddbm_deraining", {}),
    "DDBM-VP, posterior": ("diffusion/ddbm_deraining", {"sampler": {"type": "PosteriorSampler"}}),
    "DDBM-VE, hybrid": ("diffusion/ddbm_ve_deraining", {}),
    "ResShift": ("diffusion/resshift_deraining", {"scheduler.kappa": 0.5, "scheduler.steps": 20}),
    "InDI": ("diffusion/indi_deraining", {}),
    "cold diffusion": ("diffusion/cold_deraining", {}),
    "DiffUIR": ("diffusion/diffuir_10task", {}),
    "flow from LQ": ("diffusion/flow_deraining", {}),
    "flow from noise": ("diffusion/coupled_flow_deraining", {}),
    "Palette (DDPM)": ("diffusion/palette_jpeg", {"sampling_scheduler": None}),
}
# Runs that differ in their sampler only.
SHARED = {"IR-SDE, posterior": "IR-SDE, SDE", "DDBM-VP, posterior": "DDBM-VP, hybrid"}


def lab_config(name: str, iters: int, seed: int) -> Config:
    """The config of a process, small."""
    path, options = PROCESSES[name]
    config = load_config(REPO / "configs" / f"{path}.py", work_dir="unused")
    config.merge_from_dict({f"model.{key}": value for key, value in options.items()})
    config.model.backbone = REGRESSION if name == "regression" else NETWORK
    config.model.num_steps = None
    if name == "regression":
        config.model.pop("num_steps")
    small_training(config, [TASK], [TRAINING], OPTIMIZER, seed)
    config.train_cfg.stages = [{"name": "train", "iters": iters, "lr": 1e-3, "min_lr": 1e-5, "warmup_iters": 50}]
    config.custom_hooks = [{"type": "StageEMAHook", "decay": 0.99}]
    return config


def folder_of(name: str, out: Path, seed: int = 0) -> Path:
    """Where a process's training is."""
    name = SHARED.get(name, name)
    return out / ("".join(c if c.isalnum() else "_" for c in name) + (f"_seed{seed}" if seed else ""))


def carry_out(
    name: str,
    out: Path,
    iters: int,
    threads: int,
    seed: int = 0,
    judges: Sequence[PictureMetric] = (),
    side: int = SIDE,
) -> None:
    """Trains a process and measures it, unless that is done.

    Raises:
        ConfigError: The folder holds a training of another length.
    """
    folder = folder_of(name, out, seed)
    results = out / "results" / f"{folder.name}_{list(PROCESSES).index(name)}.json"
    check_length(folder, [iters])
    if is_measured(results, judges, side):
        return
    checkpoint = train(lab_config(SHARED.get(name, name), iters, seed), folder, threads)
    torch.set_num_threads(threads)
    model = load_restorer(checkpoint)
    if name in SHARED:
        model = _with_sampler(model, lab_config(name, iters, seed))
    found = {
        "name": name,
        "side": side,
        "metrics": {judge.name: described(judge) for judge in judges},
        "rows": measure(model, judges, side, seed),
    }
    with atomic_write(results, "w", encoding="utf-8") as file:
        json.dump(found, file, indent=1)


def trained(out: Path) -> dict[str, Restorer]:
    """The restorers of the first seed whose training has ended, by process.

    Raises:
        ConfigError: There is none.
    """
    folders = {name: folder_of(name, out) for name in PROCESSES if name not in SHARED}
    ended = {name: folder for name, folder in folders.items() if (folder / TRAINED).is_file()}
    if not ended:
        raise ConfigError(f"'{out}' holds no training that has ended; `run` it first.")
    return {name: load_restorer(find_last_checkpoint(folder)) for name, folder in ended.items()}


def described(judge: PictureMetric) -> dict:
    """What a file of results says of a metric: its direction, and how it was measured."""
    return {"higher_is_better": judge.higher_is_better, "measured": judge.describe()}


def is_measured(results: Path, judges: Sequence[PictureMetric], side: int) -> bool:
    """Whether a file holds a process's results of these metrics, perhaps of others too, on pictures of this side."""
    if not results.is_file():
        return False
    found = json.loads(results.read_text(encoding="utf-8"))
    return found.get("side") == side and all(found["metrics"].get(j.name) == described(j) for j in judges)


def _with_sampler(model: Restorer, config: Config) -> Restorer:
    model.sampler = SAMPLERS.build(config.model.sampler)
    return model


@dataclass(frozen=True)
class Results:
    """What was measured.

    Attributes:
        rows: By process, in the order of this file, a row for each number of steps: means over the seeds, and `spread`,
            their standard deviations by metric, NaN where there is one seed or a value is not defined, and `fewer`,
            the number of seeds by the metrics that not all were measured by.
        side: Side of the pictures.
        metrics: What `described` says of the metrics beside PSNR and SSIM, by name.
    """

    rows: dict[str, list[dict]]
    side: int
    metrics: dict[str, dict]

    def is_better_higher(self, metric: str) -> bool:
        """Whether larger is better."""
        return metric in FIDELITY or self.metrics[metric]["higher_is_better"]


def read_results(out: Path) -> Results:
    """The results in a folder.

    Raises:
        ConfigError: There are none, or they were not all measured alike.
    """
    files = sorted((out / "results").glob("*.json"))
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    if not found:
        raise ConfigError(f"'{out}' holds no results; `run` it first.")
    by_name: dict[str, list[list[dict]]] = {}
    metrics: dict[str, dict] = {}
    for file, result in zip(files, found, strict=True):
        same = result.get("side") == found[0].get("side") is not None
        if not same or any(metrics.setdefault(key, value) != value for key, value in result["metrics"].items()):
            raise ConfigError(
                f"'{file}' was not measured as '{files[0]}' was; `run` all with one --side and --metrics."
            )
        by_name.setdefault(result["name"], []).append(result["rows"])
    rows = {name: [_mean(seeds) for seeds in zip(*by_name[name], strict=True)] for name in PROCESSES if name in by_name}
    return Results(rows, found[0]["side"], metrics)


def _mean(rows: Sequence[dict]) -> dict:
    # A metric that not all seeds were measured by is that of those that were.
    values = {key: [row[key] for row in rows if key in row] for key in dict.fromkeys(k for row in rows for k in row)}
    mean = {key: fmean(found) for key, found in values.items()}
    spread = {key: _deviation(found) for key, found in values.items()}
    fewer = {key: len(found) for key, found in values.items() if len(found) < len(rows)}
    counts = {"steps": rows[0]["steps"], "evaluations": rows[0]["evaluations"]}
    return {**mean, **counts, "spread": spread, "fewer": fewer}


def _deviation(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else math.nan


def print_table(results: Results, metric: str = "PSNR") -> None:
    """The best number of steps of each process by a metric, and the metric against steps, in Markdown."""
    metrics, lines = [*FIDELITY, *results.metrics], []
    for name, rows in results.rows.items():
        best = best_row(rows, metric, results.is_better_higher(metric))
        at = {row["steps"]: shown(metric, row.get(metric, math.nan)) for row in rows}
        values = [shown(key, best.get(key, math.nan)) for key in metrics]
        for key, seeds in best["fewer"].items():
            values[metrics.index(key)] += f" (seeds: {seeds})"
        if not math.isnan(spread := best["spread"].get(metric, math.nan)):
            values[metrics.index(metric)] += f" ± {shown(metric, spread)}"
        seconds = f"{best['seconds']:.2f}"
        lines.append([name, best["steps"], best["evaluations"], *values, seconds, *(at.get(n, "-") for n in STEPS)])
    print(markdown(["process", "best at steps", "evaluations", *metrics, "s / picture", *STEPS], lines))


def best_row(rows: Sequence[dict], metric: str, higher_is_better: bool) -> dict:
    """The row that a metric is best of; one whose value is not defined only where all are so."""
    defined = [row for row in rows if not math.isnan(row.get(metric, math.nan))]
    return (max if higher_is_better else min)(defined or rows[:1], key=lambda row: row.get(metric))


def plot(results: dict[str, list[dict]], path: str, input_psnr: float) -> None:
    """PSNR against evaluations of the network."""
    mpl.use("Agg")
    figure, axes = plt.subplots(figsize=(8, 5))
    colours = mpl.colormaps["tab20"].colors
    for number, (name, rows) in enumerate(results.items()):
        style = {"marker": MARKERS[number % len(MARKERS)], "color": colours[number % len(colours)], "linewidth": 1}
        axes.plot([r["evaluations"] for r in rows], [r["PSNR"] for r in rows], label=name, **style)
    axes.axhline(input_psnr, color="grey", linestyle=":", label="input")
    axes.set(xscale="log", xlabel="evaluations of the network", ylabel="PSNR / dB", title="Rain100H, small network")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110, bbox_inches="tight")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "estimates", "table", "references"))
    parser.add_argument("--out", default="work_dirs/lab_diffusion")
    parser.add_argument("--iters", type=positive_int, default=600)
    parser.add_argument("--seeds", type=positive_int, default=1)
    parser.add_argument("--side", type=positive_int, default=SIDE, help=f"of the pictures' middles (default: {SIDE})")
    parser.add_argument("--metrics", nargs="+", default=[], metavar="NAME", help="LPIPS, NIQE, or pyiqa's")
    parser.add_argument("--pristine", metavar="NPZ", help="NIQE's model, as tools/misc/fit_niqe.py writes it")
    parser.add_argument("--threads", type=positive_int, default=usable_cores())
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--plot", metavar="PNG", help="draw PSNR against evaluations")
    args = parser.parse_args()
    out = Path(args.out)
    if args.command == "table":
        tables(read_results(out), args.plot)
        print_estimates(out)
        return 0
    if args.command == "estimates":
        write_estimates(trained(out), *test_pictures(args.side), out)
        print_estimates(out)
        return 0
    judges = build_judges(args.metrics, args.pristine)
    require_measurable(judges, args.side)
    if args.command == "references":
        print_references(judges, args.side)
        return 0
    for seed in range(args.seeds):
        for name in args.only or PROCESSES:
            carry_out(name, out, args.iters, args.threads, seed, judges, args.side)
            print(f"{name}, seed {seed}", flush=True)
    return 0


def tables(results: Results, picture: str | None) -> None:
    """Prints a table by PSNR, and one by each metric beside PSNR and SSIM; draws the picture where one is named."""
    lq, gt = test_pictures(results.side)
    input_psnr = fmean(psnr(to_8_bit(lq), gt).tolist())
    print(f"Input: {input_psnr:.2f} dB, the middle {results.side} x {results.side} pixels\n")
    print_table(results)
    for name, metric in results.metrics.items():
        better = "larger" if metric["higher_is_better"] else "smaller"
        print(f"\nBy {name}, {better} is better; {metric['measured']}:\n")
        print_table(results, name)
    if picture:
        plot(results.rows, picture, input_psnr)


if __name__ == "__main__":
    sys.exit(exit_code(main))
