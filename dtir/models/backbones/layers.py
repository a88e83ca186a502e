"""Layers that several backbones share."""

import torch
from torch import Tensor, nn


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of (B, C, H, W), at every pixel.

    Written with plain reductions over dimension 1: it keeps the memory layout of its input, contiguous or channels
    last, and needs no permuted copy.

    Args:
        channels: C.
        eps: Added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalised (B, C, H, W), computed in float32 under autocast."""
        if x.is_contiguous(memory_format=torch.channels_last):
            y = nn.functional.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps)
            return y.permute(0, 3, 1, 2)
        variance, mean = torch.var_mean(x, dim=1, keepdim=True, correction=0)
        y = (x - mean) * torch.rsqrt(variance + self.eps)
        return torch.addcmul(self.bias[:, None, None], y, self.weight[:, None, None])
