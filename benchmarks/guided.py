"""Restores with every training-free guidance of configs/training_free and one small network, and tabulates.

    DTIR_DATA=DATA python -m benchmarks.guided run CKPT --out work_dirs/guided
    DTIR_DATA=DATA python -m benchmarks.guided table --out work_dirs/guided

CKPT is a checkpoint of a generative training, such as that of configs/training_free/ddpm_photos.py or the pre-training
of benchmarks/method.py. The pictures are the middles of the GTs of DATA/real10, one of each task. `run` keeps what each
config gave, and goes on with the others after an interruption; with another checkpoint, --side or --samples it measures
again, and so it does with a config that has changed. Two commands with configs of their own (--only) may run beside
each other.
"""

import argparse
import hashlib
import json
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
from dtir.core.atomic import atomic_write
from dtir.core.denormals import flush_denormals
from dtir.core.digests import file_sha256
from dtir.core.errors import ConfigError
from dtir.datasets import PairedDataset
from dtir.diffusion.domain import to_centred, to_image
from dtir.evaluation.metrics.functional import psnr, ssim, to_8_bit
from dtir.imaging.files import read_rgb
from dtir.models import DiffusionRestorer
from dtir.tasks import TASKS

CONFIGS = sorted(path for path in (REPO / "configs" / "training_free").glob("*.py") if not path.name.startswith("ddpm"))
# Decimals of the metrics.
DIGITS = {"PSNR": 2, "SSIM": 3}


def clean_pictures(side: int) -> Tensor:
    """(10, 3, side, side) in [0, 1]: the middle of one GT of every task."""
    crops = []
    for task in TASKS:
        gt = picture(read_rgb(PairedDataset(task, f"real10/{task}").records[0]["gt_path"]))
        top, left = ((length - side) // 2 for length in gt.shape[-2:])
        crops.append(gt[..., top : top + side, left : left + side])
    return torch.cat(crops).float()


def quality(x: Tensor, gt: Tensor) -> dict[str, float]:
    """Mean PSNR and SSIM of pictures in [0, 1]."""
    x, gt = to_8_bit(x.clamp(0, 1)), gt.double()
    return {"PSNR": psnr(x, gt).mean().item(), "SSIM": ssim(x, gt).mean().item()}


def measured(config: Path, checkpoint: str | DiffusionRestorer, gt: Tensor, samples: int) -> dict:
    """What a config makes of pictures: the pseudo-inverse if there is one, a sample, and the mean of some.

    Args:
        config: File of configs/training_free.
        checkpoint: As in `GuidedRestorer`.
        gt: Pictures (B, 3, H, W) in [0, 1].
        samples: Samples of the mean.
    """
    settings = guided_settings(config)
    restorer = GuidedRestorer(checkpoint, **settings)
    operator = restorer.operator(*gt.shape[-2:])
    y = restorer.measure(to_centred(gt))
    simple = operator.A_pinv(y) if hasattr(operator, "A_pinv") else y
    start = time.perf_counter()
    found = restorer.restore_mean(y, samples, tuple(gt.shape[-2:]))
    seconds = (time.perf_counter() - start) / len(gt) / samples
    before, one, mean = (quality(to_image(x), gt) for x in (simple, found.one, found.mean))
    return {
        "config": config.stem,
        "guidance": settings["guidance_cfg"]["type"],
        "operator": settings["operator_cfg"]["type"],
        "sigma_y": restorer.sigma_y,
        "before": before,
        "one": one,
        "mean": mean,
        "evaluations": restorer.num_evals // samples,
        "seconds": seconds,
    }


def carry_out(config: Path, checkpoint: Path, gt: Tensor, samples: int, out: Path) -> None:
    """Measures a config, unless a file says that it was measured alike."""
    measure = {"prior": digest(checkpoint), "side": gt.shape[-1], "samples": samples}
    file, settings = out / "results" / f"{config.stem}.json", digest_of_settings(config)
    if file.is_file():
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["measured"] == measure and kept["settings"] == settings:
            return
    found = measured(config, str(checkpoint), gt, samples)
    with atomic_write(file, "w", encoding="utf-8") as opened:
        json.dump({"measured": measure, "settings": settings, **found}, opened, indent=1)


def digest(checkpoint: Path) -> str:
    """What tells a checkpoint, or the folder of a pipeline of diffusers, from others."""
    files = sorted(checkpoint.rglob("*")) if checkpoint.is_dir() else [checkpoint]
    return "-".join(file_sha256(file)[:12] for file in files if file.is_file())


def digest_of_settings(config: Path) -> str:
    """What tells the settings of a config, its bases included, from others."""
    text = json.dumps(guided_settings(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def table(out: Path) -> str:
    """What the files of a folder say, in Markdown.

    Raises:
        ConfigError: There are none, or they were not measured alike.
    """
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(out.glob("results/*.json"))]
    if not found:
        raise ConfigError(f"'{out}' holds no results; `run` it first.")
    for row in found:
        if row["measured"] != found[0]["measured"]:
            raise ConfigError(
                f"'{out}': {row['config']} was not measured as {found[0]['config']} was; `run` all of them with one "
                "checkpoint, --side and --samples."
            )
    samples = found[0]["measured"]["samples"]
    header = [
        "config",
        "guidance",
        "operator",
        "sigma_y",
        "before",
        "PSNR",
        "SSIM",
        f"PSNR of the mean of {samples}",
        "SSIM of it",
        "evaluations",
        "s / picture",
    ]
    return markdown(header, [cells(row) for row in found])


def cells(row: dict) -> list[str]:
    """A row of the table."""
    return [
        row["config"],
        row["guidance"],
        row["operator"],
        f"{row['sigma_y']:g}",
        f"{row['before']['PSNR']:.2f}",
        *(f"{row[key][metric]:.{digits}f}" for key in ("one", "mean") for metric, digits in DIGITS.items()),
        str(row["evaluations"]),
        f"{row['seconds']:.2f}",
    ]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure", description="Measures what was not measured yet.")
    shown = commands.add_parser("table", help="print", description="Prints what was measured, in Markdown.")
    for command in (run, shown):
        command.add_argument("--out", type=Path, default=Path("work_dirs/guided"), help="folder of the results")
    run.add_argument("checkpoint", type=Path, help="of a generative training, or as dtir guide takes it")
    run.add_argument("--side", type=positive_int, default=128, help="side of the pictures, a power of 2")
    run.add_argument("--samples", type=positive_int, default=8, help="samples of the mean (default: 8)")
    names = [config.stem for config in CONFIGS]
    run.add_argument("--only", nargs="+", choices=names, default=names, metavar="CONFIG", help=f"of {', '.join(names)}")
    args = parser.parse_args()
    if args.command == "table":
        print(table(args.out))
        return 0
    flush_denormals()
    gt = clean_pictures(args.side)
    for config in track([config for config in CONFIGS if config.stem in args.only], "guidance"):
        carry_out(config, args.checkpoint, gt, args.samples, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
