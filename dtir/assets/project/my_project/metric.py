"""What a validation measures beside PSNR and SSIM; it has a column in every table."""

from torch import Tensor

from dtir.evaluation import PictureMetric
from dtir.registry import METRICS


@METRICS.register_module()
class MyRowError(PictureMetric):
    """Mean absolute error of the means of the rows, in grey levels: what is left of the stripes."""

    name = "RowError"
    higher_is_better = False
    digits = 3

    def measure(self, picture: Tensor, gt: Tensor) -> Tensor:
        """Values (N,) of pictures and ground truths (N, 3, H, W) in [0, 1]."""
        picture, gt = self.protocol.prepare(picture), self.protocol.prepare(gt)
        return 255 * (picture - gt).mean(dim=(1, 3)).abs().mean(dim=1)
