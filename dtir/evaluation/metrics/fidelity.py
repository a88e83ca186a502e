"""PSNR, SSIM and MAE."""

import logging
import math

from mmengine.logging import print_log
from torch import Tensor
from typing_extensions import override

from dtir.registry import METRICS

from . import functional
from .base import PictureMetric

SSIM_KINDS = {
    functional.ssim: "Gaussian 11x11",
    functional.ssim_3d: "Gaussian 11x11 over the channels too",
    functional.ssim_uniform: "uniform 7x7",
    functional.ssim_downsampled: "Gaussian 11x11 after pooling by round(min(H, W) / 256)",
}


@METRICS.register_module()
class PSNR(PictureMetric):
    """Peak signal-to-noise ratio in dB.

    A picture that equals its GT has an infinite PSNR, as in BasicSR. It is not capped, since a cap would decide the
    mean, but left out of the mean; a warning names such pictures.
    """

    name = "PSNR"
    higher_is_better = True
    digits = 2
    unit = "dB"

    def measure(self, picture: Tensor, gt: Tensor) -> Tensor:
        """PSNR by the protocol."""
        return functional.psnr(self.protocol.prepare(picture), self.protocol.prepare(gt))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Means per task and their mean; warns of infinite values, which are left out."""
        equal = [f"{result['task']}/{result['name']}" for result in results if math.isinf(result["value"])]
        if equal:
            shown = ", ".join(equal[:3])
            print_log(
                f"{self.name}: {len(equal)} picture(s) equal their GT and are left out of the mean: {shown}",
                logger="current",
                level=logging.WARNING,
            )
        return super().compute_metrics(results)


@METRICS.register_module()
class InputPSNR(PSNR):
    """PSNR of the degraded input, which the gain of a restoration is counted from."""

    name = "PSNR_LQ"
    title = "input PSNR"
    # The name of the column that results.json has had from the start.
    key = "psnr_in"
    source = "lq"


@METRICS.register_module()
class SSIM(PictureMetric):
    """Structural similarity, of the kind that belongs to the protocol."""

    name = "SSIM"
    higher_is_better = True

    @override
    def describe(self) -> str:
        """With the kind of SSIM."""
        return f"{SSIM_KINDS[self.protocol.ssim]}, {super().describe()}"

    def measure(self, picture: Tensor, gt: Tensor) -> Tensor:
        """SSIM by the protocol."""
        return self.protocol.ssim(self.protocol.prepare(picture), self.protocol.prepare(gt))


@METRICS.register_module()
class MAE(PictureMetric):
    """Mean absolute error, of values in [0, 1]."""

    name = "MAE"
    higher_is_better = False

    def measure(self, picture: Tensor, gt: Tensor) -> Tensor:
        """MAE by the protocol."""
        return functional.mae(self.protocol.prepare(picture), self.protocol.prepare(gt))
