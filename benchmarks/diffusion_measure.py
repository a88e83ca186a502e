"""What the comparison of the diffusion family measures: restored middles of its test pictures, by number of steps.

A metric beside PSNR and SSIM is dtir's or pyiqa's by its name. NIQE's model of pristine pictures may be a file that
tools/misc/fit_niqe.py wrote.
"""

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from benchmarks.lab import markdown, picture
from dtir.core.errors import ConfigError
from dtir.datasets import PairedDataset
from dtir.evaluation.metrics import PictureMetric
from dtir.evaluation.metrics.functional import psnr, ssim, to_8_bit
from dtir.imaging.files import read_rgb
from dtir.models.restorers import Restorer
from dtir.registry import METRICS

TASK = "rainy"
SIDE = 128
STEPS = (1, 2, 5, 10, 20, 50)
# Standard deviations, in pixels and in levels of 255, of what the references are damaged by.
BLURS, NOISES = (1, 2), (10, 25, 50)
DIGITS = {"PSNR": 2, "NIQE": 2}


def build_judges(names: Sequence[str], pristine: str | None = None) -> list[PictureMetric]:
    """Metrics by their names.

    Args:
        names: Of dtir's metrics or pyiqa's.
        pristine: File of NIQE's model of pristine pictures; None looks in torch's hub cache.

    Raises:
        ConfigError: A metric is not known, or lacks its files.
    """
    return [METRICS.build(_settings(name, pristine)) for name in names]


def _settings(name: str, pristine: str | None) -> dict:
    if name == "NIQE":
        return {"type": name, "parameters": pristine}
    return {"type": name} if name in METRICS.module_dict else {"type": "IQA", "metric": name}


def require_measurable(judges: Sequence[PictureMetric], side: int) -> None:
    """Raises ConfigError if a metric cannot measure pictures of this side, before anything is trained for it."""
    _, gt = test_pictures(side)
    for name, metric in [("SSIM", ssim), *((judge.name, judge.measure) for judge in judges)]:
        try:
            metric(gt, gt)
        except ValueError as error:
            raise ConfigError(f"{name} cannot measure {side}x{side} pixels; name another --side. {error}") from error


def test_pictures(side: int) -> tuple[Tensor, Tensor]:
    """LQ (float32) and GT (float64), (6, 3, side, side) in [0, 1]: the middles of the test pictures.

    Raises:
        ConfigError: A picture is smaller.
    """
    pairs = []
    for record in PairedDataset(TASK, "real10/rainy").records:
        pair = [picture(read_rgb(record[key])) for key in ("lq_path", "gt_path")]
        height, width = pair[0].shape[-2:]
        if side > min(height, width):
            raise ConfigError(f"'{record['lq_path']}' has {height}x{width} pixels; --side {side} is too large.")
        top, left = (height - side) // 2, (width - side) // 2
        pairs.append([part[..., top : top + side, left : left + side] for part in pair])
    lq, gt = (torch.cat(part) for part in zip(*pairs, strict=True))
    return lq.float(), gt


@torch.inference_mode()
def measure(model: Restorer, judges: Sequence[PictureMetric] = (), side: int = SIDE, seed: int = 0) -> list[dict]:
    """PSNR, SSIM, other metrics, evaluations and seconds per picture for each number of steps of the process."""
    lq, gt = test_pictures(side)
    t = torch.zeros(len(lq), dtype=torch.long)
    samples = hasattr(model, "set_sampling")
    torch.manual_seed(seed)
    rows = []
    for steps in STEPS if samples else (1,):
        if samples and steps > model.sampling_scheduler.num_timesteps:
            continue
        if samples:
            model.set_sampling(steps)
        start = time.perf_counter()
        restored = to_8_bit(model.restore(lq, t).clamp(0, 1))
        seconds = (time.perf_counter() - start) / len(lq)
        evaluations = model.num_evals if samples else 1
        rows.append({"steps": steps, "evaluations": evaluations, **judged(restored, gt, judges), "seconds": seconds})
    return rows


def judged(pictures: Tensor, gt: Tensor, judges: Sequence[PictureMetric]) -> dict[str, float]:
    """Means of PSNR, SSIM and the other metrics by their names; NaN where one is not defined for a picture.

    NIQE of a picture that is flat nearly everywhere is not.
    """
    values = {"PSNR": psnr(pictures, gt).mean().item(), "SSIM": ssim(pictures, gt).mean().item()}
    for judge in judges:
        try:
            values[judge.name] = judge.measure(pictures, gt).mean().item()
        except ValueError:
            values[judge.name] = math.nan
    return values


def print_references(judges: Sequence[PictureMetric], side: int) -> None:
    """What the metrics say of the input, the GT, and the GT with blur and noise of known strengths, in Markdown."""
    lq, gt = test_pictures(side)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(gt.shape, generator=generator, dtype=gt.dtype)
    pictures = {"input": lq, "GT": gt}
    pictures |= {f"GT, blur {s}": gaussian_blur(gt, [8 * s + 1] * 2, [float(s)]) for s in BLURS}
    pictures |= {f"GT, noise {s}": gt + s / 255 * noise for s in NOISES}
    values = {name: judged(to_8_bit(damaged.double()), gt, judges) for name, damaged in pictures.items()}
    header = ["pictures", *values["GT"]]
    print(markdown(header, [[name, *(shown(k, v) for k, v in row.items())] for name, row in values.items()]))


def shown(metric: str, value: float) -> str:
    """A value as the tables print it; what is not defined is a dash."""
    return "-" if math.isnan(value) else f"{value:.{DIGITS.get(metric, 3)}f}"
