"""Losses between Fourier transforms."""

import torch
from torch import Tensor, nn

from dtir.registry import LOSSES


@LOSSES.register_module()
class FFTLoss(nn.Module):
    """Mean absolute difference of the pictures' 2-D Fourier transforms, which are not normalised.

    It so grows with the side of the patch. Released with the method of arXiv 2506.21722, at a weight of 0.1 beside L1.
    """

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Loss (B,) of each sample of (B, C, H, W), in float32 under autocast too."""
        # The transform is linear: one is enough for both pictures.
        difference = pred.float() - target.float()
        if not len(difference):
            # A batch without restoring samples, of which MKL makes an error.
            return difference.flatten(1).sum(1)
        return torch.fft.fft2(difference).abs().flatten(1).mean(1)
