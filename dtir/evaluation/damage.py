"""What damage does to a picture, in a few numbers: to compare synthetic damage with real damage.

References: Simoncelli and Olshausen, Natural image statistics and neural representation, 2001 (gradients, spectra).
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from statistics import fmean

import torch
from torch import Tensor

from dtir.evaluation.metrics.functional import psnr, ssim

# Borders between the bands, in cycles per pixel.
COARSE, FINE = 1 / 32, 1 / 8
# A picture that is not changed at all has this PSNR here.
MAX_PSNR = 100.0
# A quarter of a step of 8 bits. Less than this is no detail, and the ratio to it means nothing.
_LEAST_DETAIL = 1e-3


@dataclass(frozen=True)
class DamageStatistics:
    """One pair, or the mean over many.

    Attributes:
        psnr: PSNR of LQ against GT in dB, RGB, at most `MAX_PSNR`.
        ssim: SSIM of LQ against GT, RGB.
        brightness: Mean of LQ - GT, in [-1, 1].
        gradient: Mean absolute difference of neighbouring pixels in LQ over that in GT, as log2: 1 is twice the detail.
        coarse: Share of the energy of LQ - GT in waves longer than 32 pixels, in [0, 1]; 0 where nothing changed.
        fine: Share in waves shorter than 8 pixels.
    """

    psnr: float
    ssim: float
    brightness: float
    gradient: float
    coarse: float
    fine: float


def damage_statistics(lq: Tensor, gt: Tensor) -> DamageStatistics:
    """Measures one pair.

    Args:
        lq: The damaged picture (3, H, W) in [0, 1], at least 11 pixels a side.
        gt: The clean picture like it.

    Raises:
        ValueError: The shapes differ or a side is shorter than the window of SSIM.
    """
    lq, gt = lq.double(), gt.double()
    similarity = ssim(lq[None], gt[None]).item()
    coarse, fine = _band_shares(lq - gt)
    return DamageStatistics(
        psnr=psnr(lq[None], gt[None]).clamp_max(MAX_PSNR).item(),
        ssim=similarity,
        brightness=(lq - gt).mean().item(),
        gradient=(_detail(lq) / _detail(gt)).log2().item(),
        coarse=coarse,
        fine=fine,
    )


def mean_statistics(values: Sequence[DamageStatistics]) -> DamageStatistics:
    """The mean of each number over at least one pair."""
    return DamageStatistics(*(fmean(column) for column in zip(*map(astuple, values), strict=True)))


def statistic_names() -> tuple[str, ...]:
    """The names of the numbers, in the order of `dataclasses.astuple`."""
    return tuple(field.name for field in fields(DamageStatistics))


def _detail(picture: Tensor) -> Tensor:
    steps = picture.diff(dim=-1).abs().mean() + picture.diff(dim=-2).abs().mean()
    return (steps / 2).clamp_min(_LEAST_DETAIL)


def _band_shares(change: Tensor) -> tuple[float, float]:
    height, width = change.shape[-2:]
    energy = torch.fft.fft2(change).abs().square().sum(0)
    rows, columns = (torch.fft.fftfreq(side, dtype=energy.dtype, device=energy.device) for side in (height, width))
    frequency = torch.hypot(rows[:, None], columns)
    total = energy.sum().clamp_min(1e-12)
    coarse, fine = energy[frequency < COARSE].sum() / total, energy[frequency > FINE].sum() / total
    return coarse.item(), fine.item()
