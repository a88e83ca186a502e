"""What the small networks that judge pictures are made of, and how they describe a picture of any size."""

import torch
from torch import Tensor, nn

from dtir.models.backbones.parts.layers import LayerNorm2d

# Numbers that describe a picture, per channel.
DESCRIBED_BY = 3


class Residual(nn.Module):
    """A depthwise convolution of 5 x 5 and a two-layer perceptron at every pixel, added to the input.

    Args:
        channels: Channels of input and output (B, channels, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 5, padding=2, groups=channels),
            LayerNorm2d(channels),
            nn.Conv2d(channels, 2 * channels, 1),
            nn.GELU(),
            nn.Conv2d(2 * channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        return x + self.body(x)


def halving(channels: int, out: int, kernel: int = 3, stride: int = 2) -> nn.Sequential:
    """A convolution that makes a picture smaller, half as large by default, and a norm over its channels."""
    return nn.Sequential(nn.Conv2d(channels, out, kernel, stride, 1), LayerNorm2d(out))


def described(features: Tensor) -> Tensor:
    """Mean, spread and soft maximum of features (B, C, H, W) over the picture: (B, 3 C), float32.

    None of them grows with the picture's size, so that what is learned of crops holds for whole photographs.
    """
    y = features.flatten(2).float()
    spread = (y.var(2, correction=0) + 1e-6).sqrt()
    return torch.cat([y.mean(2), spread, _soft_maximum(y)], 1)


def _soft_maximum(y: Tensor) -> Tensor:
    # log mean exp, which is between the mean and the largest value however many values there are.
    largest = y.amax(2, keepdim=True)
    return (y - largest).exp().mean(2).log() + largest[..., 0]
