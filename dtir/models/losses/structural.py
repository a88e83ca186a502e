"""Structural similarity as a loss."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.models.precision import without_autocast
from dtir.registry import LOSSES

C1, C2 = 0.01**2, 0.03**2


@LOSSES.register_module()
class SSIMLoss(nn.Module):
    """Negative SSIM of RGB pictures in [0, 1] (Wang et al., 2004), the loss of PReNet (Ren et al., CVPR 2019).

    The Gaussian window reaches beyond the border, where it sees zeros: the metric of the same name does not, so that
    the two differ a little.

    Args:
        window_size: Side of the window in pixels, odd.
        sigma: Standard deviation of the Gaussian in pixels.
    """

    def __init__(self, window_size: int = 11, sigma: float = 1.5) -> None:
        super().__init__()
        distance = torch.arange(window_size, dtype=torch.float32) - window_size // 2
        window = torch.exp(-distance.square() / (2 * sigma**2))
        self.register_buffer("window", window / window.sum(), persistent=False)

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Loss (B,) of each sample, in [-1, 1], in float32 under autocast too."""
        pred, target = pred.float(), target.float()
        moments = torch.cat([pred, target, pred * pred, target * target, pred * target], 1)
        mean_p, mean_t, *products = self._local_mean(moments).chunk(5, dim=1)
        square_p, square_t, product = mean_p.square(), mean_t.square(), mean_p * mean_t
        var_p, var_t, cov = products[0] - square_p, products[1] - square_t, products[2] - product
        similarity = (2 * product + C1) * (2 * cov + C2) / ((square_p + square_t + C1) * (var_p + var_t + C2))
        return -similarity.flatten(1).mean(1)

    def _local_mean(self, x: Tensor) -> Tensor:
        channels, reach = x.shape[1], len(self.window) // 2
        column = self.window[:, None].expand(channels, 1, -1, 1)
        with without_autocast(x.device):
            x = F.conv2d(x, column, padding=(reach, 0), groups=channels)
            return F.conv2d(x, column.transpose(2, 3), padding=(0, reach), groups=channels)
