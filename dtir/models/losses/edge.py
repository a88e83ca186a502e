"""Losses between edges."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.models.precision import without_autocast
from dtir.registry import LOSSES

_TAPS = (0.05, 0.25, 0.4, 0.25, 0.05)


@LOSSES.register_module()
class EdgeLoss(nn.Module):
    """Charbonnier's loss between Laplacians, the edge loss of MPRNet (Zamir et al., CVPR 2021), at a weight of 0.05.

    The Laplacian is a picture without its smooth part: it is blurred, every second pixel is kept, times 4, and blurred
    again (Burt and Adelson, 1983).

    Args:
        eps: Rounding of the corner at 0.
    """

    def __init__(self, eps: float = 1e-3) -> None:
        super().__init__()
        self.eps = eps
        taps = torch.tensor(_TAPS)
        self.register_buffer("kernel", torch.outer(taps, taps), persistent=False)

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Loss (B,) of each sample of (B, C, H, W), in float32 under autocast too."""
        with without_autocast(pred.device):
            # The Laplacian is linear: one is enough for both pictures.
            edges = self.laplacian(pred.float() - target.float())
        return (edges.square() + self.eps**2).sqrt().flatten(1).mean(1)

    def laplacian(self, x: Tensor) -> Tensor:
        """(B, C, H, W) without its smooth part."""
        kept = torch.zeros_like(x)
        kept[:, :, ::2, ::2] = self._blurred(x)[:, :, ::2, ::2] * 4
        return x - self._blurred(kept)

    def _blurred(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        kernel = self.kernel.expand(channels, 1, -1, -1)
        return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), kernel, groups=channels)
