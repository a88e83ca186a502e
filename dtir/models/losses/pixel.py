"""Pixel losses, one value per sample."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from dtir.registry import LOSSES


class PixelLoss(nn.Module, ABC):
    """A loss (B, ...), (B, ...) -> (B,): the mean of `elementwise` over a sample."""

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Loss of each sample, in float32 under autocast too."""
        return self.elementwise(pred.float() - target.float()).flatten(1).mean(1)

    @abstractmethod
    def elementwise(self, difference: Tensor) -> Tensor:
        """Loss of each element of the difference."""


@LOSSES.register_module()
class L1Loss(PixelLoss):
    """Mean absolute difference."""

    def elementwise(self, difference: Tensor) -> Tensor:
        """`|d|`."""
        return difference.abs()


@LOSSES.register_module()
class L2Loss(PixelLoss):
    """Mean squared difference."""

    def elementwise(self, difference: Tensor) -> Tensor:
        """`d^2`."""
        return difference.square()


@LOSSES.register_module()
class CharbonnierLoss(PixelLoss):
    """Smooth L1, `sqrt(d^2 + eps^2)`.

    Args:
        eps: Rounding of the corner at 0.
    """

    def __init__(self, eps: float = 1e-3) -> None:
        super().__init__()
        self.eps = eps

    def elementwise(self, difference: Tensor) -> Tensor:
        """`sqrt(d^2 + eps^2)`."""
        return (difference.square() + self.eps**2).sqrt()


@LOSSES.register_module()
class PSNRLoss(nn.Module):
    """Negative PSNR in dB divided by 10: `log10(mean d^2 + eps)`, the loss of NAFNet (Chen et al., ECCV 2022).

    Args:
        eps: Squared error below which a sample counts less and less; 1e-2 is 20 dB. With a small one, samples that are
            nearly perfect from the start (a crop that no shadow falls on) outweigh all others.
    """

    def __init__(self, eps: float = 1e-8) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Loss of each sample."""
        return torch.log10((pred.float() - target.float()).square().flatten(1).mean(1) + self.eps)
