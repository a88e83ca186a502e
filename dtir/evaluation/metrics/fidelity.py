"""PSNR and SSIM."""

from torch import Tensor

from dtir.registry import METRICS

from . import functional
from .base import PictureMetric


@METRICS.register_module()
class PSNR(PictureMetric):
    """Peak signal-to-noise ratio in dB; infinite, and then the mean too, where a picture equals its GT."""

    name = "PSNR"

    def measure(self, picture: Tensor, gt: Tensor) -> Tensor:
        """PSNR by the protocol."""
        return functional.psnr(self.protocol.prepare(picture), self.protocol.prepare(gt))


@METRICS.register_module()
class InputPSNR(PSNR):
    """PSNR of the degraded input, which the gain of a restoration is counted from."""

    name = "PSNR_LQ"
    source = "lq"


@METRICS.register_module()
class SSIM(PictureMetric):
    """Structural similarity, 11x11 Gaussian of sigma 1.5."""

    name = "SSIM"

    def measure(self, picture: Tensor, gt: Tensor) -> Tensor:
        """SSIM by the protocol."""
        return self.protocol.ssim(self.protocol.prepare(picture), self.protocol.prepare(gt))
