"""Restores with every training-free guidance of configs/training_free and one small network, and tabulates.

    DTIR_DATA=DATA python -m benchmarks.guided CKPT

CKPT is a checkpoint of a generative training, such as that of configs/training_free/ddpm_photos.py or the pre-training
of benchmarks/method.py. The pictures are the middles of the GTs of DATA/real10, one of each task.
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from rich.progress import track
from torch import Tensor

from benchmarks.lab import REPO, markdown, picture
from dtir.apis import GuidedRestorer
from dtir.apis.guided.restorer import guided_settings
from dtir.cli import exit_code
from dtir.cli.numbers import positive_int
from dtir.datasets import PairedDataset
from dtir.diffusion.domain import to_centred, to_image
from dtir.evaluation.metrics.functional import psnr, ssim, to_8_bit
from dtir.imaging.files import read_rgb
from dtir.models import DiffusionRestorer
from dtir.tasks import TASKS

CONFIGS = sorted(path for path in (REPO / "configs" / "training_free").glob("*.py") if not path.name.startswith("ddpm"))


def clean_pictures(side: int) -> Tensor:
    """(10, 3, side, side) in [0, 1]: the middle of one GT of every task."""
    crops = []
    for task in TASKS:
        gt = picture(read_rgb(PairedDataset(task, f"real10/{task}").records[0]["gt_path"]))
        top, left = ((length - side) // 2 for length in gt.shape[-2:])
        crops.append(gt[..., top : top + side, left : left + side])
    return torch.cat(crops).float()


def quality(x: Tensor, gt: Tensor) -> tuple[float, float]:
    """Mean PSNR and SSIM of pictures in [0, 1]."""
    x, gt = to_8_bit(x.clamp(0, 1)), gt.double()
    return psnr(x, gt).mean().item(), ssim(x, gt).mean().item()


def row(config: Path, checkpoint: str | DiffusionRestorer, gt: Tensor, samples: int) -> list[str]:
    """What a config makes of the pictures, as one sample and as a mean, beside the pseudo-inverse if there is one."""
    settings = guided_settings(config)
    restorer = GuidedRestorer(checkpoint, **settings)
    operator = restorer.operator(*gt.shape[-2:])
    y = restorer.measure(to_centred(gt))
    simple = operator.A_pinv(y) if hasattr(operator, "A_pinv") else y
    start = time.perf_counter()
    found = restorer.restore_mean(y, samples, tuple(gt.shape[-2:]))
    seconds = (time.perf_counter() - start) / len(gt) / samples
    before, after, mean = (quality(to_image(x), gt) for x in (simple, found.one, found.mean))
    return [
        config.stem,
        settings["guidance_cfg"]["type"],
        settings["operator_cfg"]["type"],
        f"{restorer.sigma_y:g}",
        f"{before[0]:.2f}",
        f"{after[0]:.2f}",
        f"{after[1]:.3f}",
        f"{mean[0]:.2f}",
        f"{mean[1]:.3f}",
        str(restorer.num_evals // samples),
        f"{seconds:.2f}",
    ]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--side", type=positive_int, default=128, help="side of the pictures, a power of 2")
    parser.add_argument("--samples", type=positive_int, default=8, help="samples of the mean (default: 8)")
    args = parser.parse_args()
    gt = clean_pictures(args.side)
    header = [
        "config",
        "guidance",
        "operator",
        "sigma_y",
        "before",
        "PSNR",
        "SSIM",
        f"PSNR of the mean of {args.samples}",
        "SSIM of it",
        "evaluations",
        "s / picture",
    ]
    rows = [row(config, args.checkpoint, gt, args.samples) for config in track(CONFIGS, "guidance")]
    print(markdown(header, rows))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
