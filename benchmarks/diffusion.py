"""Trains one small network under every process of the family on one task, and measures fidelity against steps.

    DTIR_DATA=DATA python -m benchmarks.diffusion run
    DTIR_DATA=DATA python -m benchmarks.diffusion table --plot docs/images/diffusion_steps.png
    DTIR_DATA=DATA python -m benchmarks.diffusion run --iters 6000 --seeds 2 --metrics LPIPS dists --out longer

DATA holds train_pairs/rainy and real10/rainy. Every run is a config of configs/diffusion with the network, data and
length of this file laid over it. Killed at any moment, the command goes on when it is run again. Metrics that are named
judge beside PSNR and SSIM; the files that they need have to be there.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch
from mmengine.config import Config
from torch import Tensor

from benchmarks.lab import REPO, markdown, picture, small_training, train
from dtir.apis.models.build import load_restorer
from dtir.cli import exit_code
from dtir.cli.launching import load_config
from dtir.cli.numbers import positive_int
from dtir.core.atomic import atomic_write
from dtir.core.errors import ConfigError
from dtir.datasets import PairedDataset
from dtir.evaluation.metrics import PictureMetric
from dtir.evaluation.metrics.functional import psnr, ssim, to_8_bit
from dtir.imaging.files import read_rgb
from dtir.models.restorers import Restorer
from dtir.registry import METRICS, SAMPLERS

TASK = "rainy"
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
SIDE = 128
MARKERS = "osv^D<>Pp*XhH+"
STEPS = (1, 2, 5, 10, 20, 50)
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


def carry_out(name: str, out: Path, iters: int, threads: int, seed: int = 0, metrics: Sequence[str] = ()) -> None:
    """Trains a process and measures it, unless that is done.

    Raises:
        ConfigError: The folder holds a training of another length, or a metric lacks its files.
    """
    folder = folder_of(name, out, seed)
    results = out / "results" / f"{folder.name}_{list(PROCESSES).index(name)}.json"
    check_length(folder, iters)
    if results.is_file():
        return
    config = lab_config(name, iters, seed)
    own = METRICS.module_dict
    judges = [METRICS.build({"type": m} if m in own else {"type": "IQA", "metric": m}) for m in metrics]
    checkpoint = train(lab_config(SHARED.get(name, name), iters, seed), folder, threads)
    torch.set_num_threads(threads)
    model = load_restorer(checkpoint)
    if name in SHARED:
        model = _with_sampler(model, config)
    with atomic_write(results, "w", encoding="utf-8") as file:
        json.dump({"name": name, "rows": measure(model, judges)}, file, indent=1)


def check_length(folder: Path, iters: int) -> None:
    """Raises ConfigError if the training in a folder is of another length."""
    begun = folder / "lab.py"
    if begun.is_file():
        found = Config.fromfile(begun).train_cfg.stages[0].iters
        if found != iters:
            raise ConfigError(f"'{folder}' holds a training of {found} iterations, not {iters}; name another --out.")


def _with_sampler(model: Restorer, config: Config) -> Restorer:
    model.sampler = SAMPLERS.build(config.model.sampler)
    return model


@torch.inference_mode()
def measure(model: Restorer, judges: Sequence[PictureMetric] = ()) -> list[dict]:
    """PSNR, SSIM, other metrics, evaluations and seconds per picture for each number of steps of the process."""
    lq, gt = test_pictures()
    t = torch.zeros(len(lq), dtype=torch.long)
    samples = hasattr(model, "set_sampling")
    rows = []
    for steps in STEPS if samples else (1,):
        if samples and steps > model.sampling_scheduler.num_timesteps:
            continue
        if samples:
            model.set_sampling(steps)
        start = time.perf_counter()
        restored = to_8_bit(model.restore(lq, t).clamp(0, 1))
        seconds = (time.perf_counter() - start) / len(lq)
        rows.append(
            {
                "steps": steps,
                "evaluations": model.num_evals if samples else 1,
                "PSNR": psnr(restored, gt).mean().item(),
                "SSIM": ssim(restored, gt).mean().item(),
                "seconds": seconds,
                **{judge.name: judge.measure(restored, gt).mean().item() for judge in judges},
            }
        )
    return rows


def test_pictures() -> tuple[Tensor, Tensor]:
    """LQ (float32) and GT (float64), (6, 3, SIDE, SIDE) in [0, 1]: the middles of the test pictures."""
    pairs = []
    for record in PairedDataset(TASK, "real10/rainy").records:
        pair = [picture(read_rgb(record[key])) for key in ("lq_path", "gt_path")]
        top, left = ((side - SIDE) // 2 for side in pair[0].shape[-2:])
        pairs.append([part[..., top : top + SIDE, left : left + SIDE] for part in pair])
    lq, gt = (torch.cat(part) for part in zip(*pairs, strict=True))
    return lq.float(), gt


def read_results(out: Path) -> dict[str, list[dict]]:
    """Rows by process, in the order of this file: means over the seeds, and the `spread` of the PSNR.

    The spread is the standard deviation, None where there is one seed.
    """
    found: dict[str, list[list[dict]]] = {}
    for file in sorted((out / "results").glob("*.json")):
        result = json.loads(file.read_text(encoding="utf-8"))
        found.setdefault(result["name"], []).append(result["rows"])
    return {name: [_mean(rows) for rows in zip(*found[name], strict=True)] for name in PROCESSES if name in found}


def _mean(rows: Sequence[dict]) -> dict:
    mean = {key: fmean(row[key] for row in rows) for key in rows[0]}
    spread = stdev(row["PSNR"] for row in rows) if len(rows) > 1 else None
    return {**mean, "steps": rows[0]["steps"], "evaluations": rows[0]["evaluations"], "spread": spread}


def print_table(results: dict[str, list[dict]]) -> None:
    """The best number of steps of each process, and PSNR against steps, in Markdown."""
    lines, header = [], ["process", "best at steps", "evaluations", "PSNR", "SSIM"]
    known = {*header, "steps", "seconds", "spread"}
    others = list(dict.fromkeys(key for rows in results.values() for key in rows[0] if key not in known))
    for name, rows in results.items():
        best = max(rows, key=lambda row: row["PSNR"])
        at = {row["steps"]: f"{row['PSNR']:.2f}" for row in rows}
        spread = "" if best["spread"] is None else f" ± {best['spread']:.2f}"
        lines.append([name, best["steps"], best["evaluations"], f"{best['PSNR']:.2f}{spread}", f"{best['SSIM']:.3f}"])
        lines[-1] += [f"{best[key]:.3f}" if key in best else "-" for key in others]
        lines[-1] += [f"{best['seconds']:.2f}", *(at.get(n, "-") for n in STEPS)]
    print(markdown([*header, *others, "s / picture", *STEPS], lines))


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
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("--out", default="work_dirs/lab_diffusion")
    parser.add_argument("--iters", type=positive_int, default=600)
    parser.add_argument("--seeds", type=positive_int, default=1)
    parser.add_argument("--metrics", nargs="+", default=[], metavar="NAME", help="LPIPS, or pyiqa's")
    parser.add_argument("--threads", type=positive_int, default=os.cpu_count() or 1)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--plot", metavar="PNG", help="draw PSNR against evaluations")
    args = parser.parse_args()
    out = Path(args.out)
    if args.command == "run":
        for seed in range(args.seeds):
            for name in args.only or PROCESSES:
                carry_out(name, out, args.iters, args.threads, seed, args.metrics)
                print(f"{name}, seed {seed}", flush=True)
        return 0
    results = read_results(out)
    lq, gt = test_pictures()
    input_psnr = fmean(psnr(to_8_bit(lq), gt).tolist())
    print(f"Input: {input_psnr:.2f} dB\n")
    print_table(results)
    if args.plot:
        plot(results, args.plot, input_psnr)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
