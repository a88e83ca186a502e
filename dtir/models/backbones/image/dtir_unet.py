"""The project's own network: a plain U-Net of residual convolution blocks, at the size of the paper's network."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dtir.models.backbones.parts.layers import LayerNorm2d, PointwiseConv2d
from dtir.models.backbones.parts.reading import State
from dtir.models.backbones.traits import Published, Traits
from dtir.registry import BACKBONES

from .nafnet import GlobalAvgPool2d, NAFUNet


class GatedConvBlock(nn.Module):
    """A dense 3x3 convolution, a gate by the channels' means, and a 1x1 convolution back to the skip.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = LayerNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.pool = GlobalAvgPool2d()
        self.gate = nn.Conv2d(channels, channels, 1)
        self.out = PointwiseConv2d(channels, channels)
        self.scale = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        y = F.gelu(self.conv(self.norm(x)))
        y = self.out(y * self.gate(self.pool(y)))
        return torch.addcmul(x, y, self.scale)


@BACKBONES.register_module()
class DTIRUNet(NAFUNet):
    """A U-Net of blocks `GatedConvBlock` with a global skip.

    At the default width it has the budget of the paper's own network, 27.8 M parameters and 72 GFLOPs at 256x256 (Lu et
    al., arXiv 2506.21722, table 4), whose structure beyond "U-Net-like" we do not know. Parameters and operations go
    with the square of the width: 16 is a network for a laptop.

    Args:
        width: Channels of the first level; they double at every level down.
        middle_blk_num: Blocks at the lowest level.
        enc_blk_nums: Blocks of each level on the way down.
        dec_blk_nums: Blocks of each level on the way up, lowest first.

    Raises:
        ConfigError: The two lists differ in length.
    """

    traits: ClassVar[Traits] = dataclasses.replace(NAFUNet.traits, licence="")
    PUBLISHED: ClassVar[Mapping[str, Published]] = {
        "dtir_unet": Published({}, 27.8, "budget: arXiv 2506.21722, table 4", 72.0)
    }

    def __init__(
        self,
        width: int = 48,
        middle_blk_num: int = 12,
        enc_blk_nums: Sequence[int] = (4, 5, 8),
        dec_blk_nums: Sequence[int] = (8, 5, 4),
    ) -> None:
        super().__init__(GatedConvBlock, 3, 3, width, middle_blk_num, enc_blk_nums, dec_blk_nums)

    @classmethod
    @override
    def settings_of(cls, state: State) -> dict:
        settings = super().settings_of(state)
        del settings["img_channel"]
        return settings

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1], H, W >= 1, to the same shape; the values are not clipped."""
        height, width = x.shape[-2:]
        x = self.padded(x)
        return (self.run(x) + x)[..., :height, :width]
