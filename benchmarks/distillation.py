"""Distils the small ResShift of `benchmarks.diffusion` to one step, and sets it beside its teacher's twenty.

    DTIR_DATA=DATA python -m benchmarks.distillation

DATA holds train_pairs/rainy and real10/rainy. The teacher is trained first where it is not yet; the network that is
distilled starts with its weights. Killed at any moment, the command goes on when it is run again.
"""

import argparse
import sys
from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor

from benchmarks.diffusion import folder_of, lab_config
from benchmarks.diffusion_measure import SIDE, test_pictures
from benchmarks.lab import markdown, train
from dtir.apis.models.build import load_restorer
from dtir.cli import exit_code
from dtir.cli.numbers import positive_int
from dtir.core.cores import usable_cores
from dtir.evaluation.metrics.functional import psnr, ssim, to_8_bit
from dtir.models.restorers import Restorer
from dtir.registry import SAMPLERS

TEACHER = "ResShift"
STEPS = 20


def distillation_config(teacher: Path, iters: int) -> Config:
    """The config of the distillation, small, of a teacher's checkpoint."""
    config = lab_config(TEACHER, iters, seed=0)
    config.model.type, config.model.num_steps = "ConsistencyRestorer", 1
    config.model.sampler = {"type": "ConsistencySampler"}
    config.load_from = config.model.teacher = str(teacher)
    config.train_cfg.stages = [{"name": "distil", "iters": iters, "lr": 2e-4, "min_lr": 1e-6}]
    return config


@torch.inference_mode()
def restored(model: Restorer, sampler: str, steps: int) -> Tensor:
    """The test pictures, restored from the same noise by a sampler in so many steps."""
    lq, _ = test_pictures(SIDE)
    model.sampler = SAMPLERS.build({"type": sampler, "clip": (-1.0, 1.0)})
    model.set_sampling(steps)
    return to_8_bit(model.restore(lq, torch.zeros(len(lq), dtype=torch.long)).clamp(0, 1))


def detail(pictures: Tensor) -> float:
    """Mean difference of neighbouring pixels, in levels of 255: what an average of samples loses."""
    return 255 * (pictures.diff(dim=-1).abs().mean() + pictures.diff(dim=-2).abs().mean()).item() / 2


def row(name: str, pictures: Tensor, gt: Tensor, many: Tensor) -> list[str]:
    """A line of the table."""
    near = psnr(pictures, many.double()).mean().item()
    return [
        name,
        f"{psnr(pictures, gt).mean().item():.2f}",
        f"{ssim(pictures, gt).mean().item():.3f}",
        f"{detail(pictures):.1f}",
        "-" if pictures is many else f"{near:.2f}",
    ]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="work_dirs/lab_diffusion")
    parser.add_argument("--iters", type=positive_int, default=600, help="of the teacher (default: 600)")
    parser.add_argument(
        "--distil", type=positive_int, default=200, help="iterations of the distillation (default: 200)"
    )
    parser.add_argument("--threads", type=positive_int, default=usable_cores())
    args = parser.parse_args()
    out = Path(args.out)
    teacher = train(lab_config(TEACHER, args.iters, seed=0), folder_of(TEACHER, out), args.threads)
    student = train(distillation_config(teacher, args.distil), out / "ResShift_one_step", args.threads)
    torch.set_num_threads(args.threads)
    _, gt = test_pictures(SIDE)
    teaches, learned = load_restorer(teacher), load_restorer(student)
    many = restored(teaches, "ImplicitSampler", STEPS)
    rows = [
        row("GT", gt, gt, many),
        row(f"teacher, {STEPS} steps with noise", restored(teaches, "PosteriorSampler", STEPS), gt, many),
        row(f"teacher, {STEPS} implicit steps", many, gt, many),
        row("teacher, 1 step", restored(teaches, "ImplicitSampler", 1), gt, many),
        row("distilled, 1 step", restored(learned, "ConsistencySampler", 1), gt, many),
        row("distilled, 2 steps", restored(learned, "ConsistencySampler", 2), gt, many),
    ]
    print(markdown(["network", "PSNR", "SSIM", "detail", f"PSNR to the {STEPS} implicit steps"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
