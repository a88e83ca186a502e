"""MIRNet (Zamir et al., "Learning Enriched Features for Real Image Restoration and Enhancement", ECCV 2020), with the
published state-dict keys."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.core.errors import ConfigError
from dtir.models.backbones.parts.channel_attention import CALayer
from dtir.models.backbones.parts.layers import PointwiseConv2d, channels_last, pad_to_multiple
from dtir.models.backbones.parts.reading import State, count
from dtir.models.backbones.traits import Published, Traits
from dtir.registry import BACKBONES


class SKFF(nn.Module):
    """Selective kernel feature fusion: features are added with weights that depend on their sum (section 3.1).

    Args:
        in_channels: Channels.
        height: How many feature maps.
        reduction: Channels over those of the bottleneck, which has at least 4.
        bias: Whether the convolutions have one.
    """

    def __init__(self, in_channels: int, height: int = 3, reduction: int = 8, bias: bool = False) -> None:
        super().__init__()
        hidden = max(in_channels // reduction, 4)
        self.conv_du = nn.Sequential(nn.Conv2d(in_channels, hidden, 1, bias=bias), nn.PReLU())
        self.fcs = nn.ModuleList(nn.Conv2d(hidden, in_channels, 1, bias=bias) for _ in range(height))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Feature maps (B, C, H, W) to one."""
        squeezed = self.conv_du(sum(x.mean((2, 3), keepdim=True) for x in features))
        weights = torch.stack([fc(squeezed) for fc in self.fcs]).softmax(0)
        out = features[0] * weights[0]
        for x, weight in zip(features[1:], weights[1:], strict=True):
            out = torch.addcmul(out, x, weight)
        return out


class SpatialAttention(nn.Module):
    """Weights for the pixels from the largest and the mean channel.

    Args:
        kernel_size: Kernel size of the convolution.
    """

    def __init__(self, kernel_size: int = 5) -> None:
        super().__init__()
        conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.spatial = nn.ModuleDict({"conv": conv})

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        compressed = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return x * self.spatial["conv"](compressed).sigmoid()


class DAU(nn.Module):
    """Dual attention unit: a residual block with attention to pixels and to channels (section 3.2).

    Args:
        n_feat: Channels.
        act: The activation, one module for the whole network.
        bias: Whether the convolutions have one.
    """

    def __init__(self, n_feat: int, act: nn.Module, bias: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(n_feat, n_feat, 3, padding=1, bias=bias), act, nn.Conv2d(n_feat, n_feat, 3, padding=1, bias=bias)
        )
        self.SA = SpatialAttention()
        self.CA = CALayer(n_feat, 8, bias)
        self.conv1x1 = PointwiseConv2d(2 * n_feat, n_feat, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        y = self.body(x)
        return self.conv1x1(torch.cat([self.SA(y), self.CA(y)], 1)) + x


class BlurPool(nn.Module):
    """Half the height and width after a binomial blur (Zhang, "Making Convolutional Networks Shift-Invariant Again").

    Args:
        channels: Channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0])
        kernel = line[:, None] * line / 16
        self.register_buffer("filt", kernel.expand(channels, 1, 3, 3).clone())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, ceil(H / 2), ceil(W / 2))."""
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.filt, stride=2, groups=x.shape[1])


class ResidualDownSample(nn.Module):
    """Half the height and width, twice the channels, with a skip.

    Args:
        channels: Channels of the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.top = nn.Sequential(
            PointwiseConv2d(channels, channels, bias=False),
            nn.PReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.PReLU(),
            BlurPool(channels),
            PointwiseConv2d(channels, 2 * channels, bias=False),
        )
        self.bot = nn.Sequential(BlurPool(channels), PointwiseConv2d(channels, 2 * channels, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 2C, H / 2, W / 2)."""
        return self.top(x) + self.bot(x)


class ResidualUpSample(nn.Module):
    """Twice the height and width, half the channels, with a skip that is projected before it is enlarged.

    Args:
        channels: Channels of the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.top = nn.Sequential(
            PointwiseConv2d(channels, channels, bias=False),
            nn.PReLU(),
            nn.ConvTranspose2d(channels, channels, 3, stride=2, padding=1, output_padding=1, bias=False),
            nn.PReLU(),
            PointwiseConv2d(channels, channels // 2, bias=False),
        )
        self.bot = nn.Sequential(nn.Identity(), PointwiseConv2d(channels, channels // 2, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C / 2, 2H, 2W)."""
        skip = F.interpolate(self.bot(x), scale_factor=2, mode="bilinear", align_corners=False)
        return self.top(x) + skip


class Resampling(nn.Module):
    """Several steps of down- or upsampling.

    Args:
        steps: The steps.
    """

    def __init__(self, *steps: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*steps)

    def forward(self, x: Tensor) -> Tensor:
        """Through all steps."""
        return self.body(x)


def _down(channels: int, steps: int) -> Resampling:
    return Resampling(*[ResidualDownSample(channels * 2**k) for k in range(steps)])


def _up(channels: int, steps: int) -> Resampling:
    return Resampling(*[ResidualUpSample(channels // 2**k) for k in range(steps)])


class MSRB(nn.Module):
    """Multi-scale residual block: dual attention units at several scales, which exchange their features.

    The units of a scale share their weights, as in the published code.

    Args:
        n_feat: Channels of the finest scale; they double from scale to scale.
        height: Scales.
        width: Units of a scale.
        act: The activation of the units, one module for the whole network.
        bias: Whether the units' convolutions have one.
    """

    def __init__(self, n_feat: int, height: int, width: int, act: nn.Module, bias: bool) -> None:
        super().__init__()
        self.height, self.width = height, width
        channels = [n_feat * 2**row for row in range(height)]
        self.blocks = nn.ModuleList(nn.ModuleList([DAU(c, act, bias)] * width) for c in channels)
        self.last_up = nn.ModuleDict({str(row): _up(channels[row], row) for row in range(1, height)})
        pairs = [(row, steps) for row in range(height) for steps in range(1, height)]
        self.down = nn.ModuleDict(
            {f"{channels[row]}_{2**s}": _down(channels[row], s) for row, s in pairs if row + s < height}
        )
        self.up = nn.ModuleDict({f"{channels[row]}_{2**s}": _up(channels[row], s) for row, s in pairs if row - s >= 0})
        self.conv_out = nn.Conv2d(n_feat, n_feat, 3, padding=1, bias=bias)
        self.selective_kernel = nn.ModuleList(SKFF(c, height) for c in channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), sides multiples of 2^(height - 1), to the same shape."""
        rows = [self.blocks[0][0](x)]
        for row in range(1, self.height):
            rows.append(self.blocks[row][0](self.down[f"{rows[-1].shape[1]}_2"](rows[-1])))
        for column in range(1, self.width):
            fused = [
                self.selective_kernel[row]([self._resampled(other, k, row) for k, other in enumerate(rows)])
                for row in range(self.height)
            ]
            rows = [self.blocks[row][column](y) for row, y in enumerate(fused)]
        finest = [rows[0], *(self.last_up[str(row)](rows[row]) for row in range(1, self.height))]
        return self.conv_out(self.selective_kernel[0](finest)) + x

    def _resampled(self, x: Tensor, source: int, target: int) -> Tensor:
        """The features of one row at the scale of another."""
        if source == target:
            return x
        ways = self.up if target < source else self.down
        return ways[f"{x.shape[1]}_{2 ** abs(source - target)}"](x)


class RRG(nn.Module):
    """Recursive residual group of multi-scale blocks.

    Args:
        n_feat: Channels.
        n_MSRB: Blocks.
        height: Scales of a block.
        width: Units of a scale.
        act: The activation of the units, one module for the whole network.
        bias: Whether the units' convolutions have one.
    """

    def __init__(self, n_feat: int, n_MSRB: int, height: int, width: int, act: nn.Module, bias: bool) -> None:
        super().__init__()
        blocks = [MSRB(n_feat, height, width, act, bias) for _ in range(n_MSRB)]
        self.body = nn.Sequential(*blocks, nn.Conv2d(n_feat, n_feat, 3, padding=1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return self.body(x) + x


@BACKBONES.register_module()
class MIRNet(nn.Module):
    """MIRNet: residual groups of multi-scale blocks, with a global skip.

    Args:
        in_channels: Channels of the picture.
        out_channels: Channels of the output.
        n_feat: Channels of the features.
        kernel_size: Kernel size of the first and last convolution.
        stride: 2, the factor between scales.
        n_RRG: Residual groups.
        n_MSRB: Blocks of a group.
        height: Scales of a block.
        width: Units of a scale.
        bias: Whether the convolutions have one.

    Raises:
        ConfigError: `stride` is not 2.
    """

    traits: ClassVar[Traits] = Traits(size_multiple=4, licence="Academic Public License (non-commercial)")
    PUBLISHED: ClassVar[Mapping[str, Published]] = {"mirnet": Published({}, 31.79)}

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        n_feat: int = 64,
        kernel_size: int = 3,
        stride: int = 2,
        n_RRG: int = 3,
        n_MSRB: int = 2,
        height: int = 3,
        width: int = 2,
        bias: bool = False,
    ) -> None:
        super().__init__()
        if stride != 2:
            raise ConfigError(f"MIRNet: stride={stride}; the published network can only be built with stride=2.")
        act = nn.PReLU()
        self.traits = dataclasses.replace(type(self).traits, size_multiple=2 ** (height - 1))
        around = kernel_size // 2
        self.conv_in = nn.Conv2d(in_channels, n_feat, kernel_size, padding=around, bias=bias)
        self.body = nn.Sequential(*[RRG(n_feat, n_MSRB, height, width, act, bias) for _ in range(n_RRG)])
        self.conv_out = nn.Conv2d(n_feat, out_channels, kernel_size, padding=around, bias=bias)

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes.

        Raises:
            KeyError: The keys are another network's.
        """
        first, block = state["conv_in.weight"], "body.0.body.0"
        return {
            "in_channels": first.shape[1],
            "out_channels": len(state["conv_out.weight"]),
            "n_feat": len(first),
            "kernel_size": first.shape[-1],
            "n_RRG": count(state, "body."),
            "n_MSRB": count(state, "body.0.body.") - 1,
            "height": count(state, f"{block}.selective_kernel."),
            "width": count(state, f"{block}.blocks.0."),
            "bias": "conv_in.bias" in state,
        }

    def ordered_blocks(self) -> list[str]:
        """The multi-scale blocks, shallow to deep."""
        return [f"body.{i}.body.{k}" for i, group in enumerate(self.body) for k in range(len(group.body) - 1)]

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) in [0, 1], H, W >= 1, to (B, out_channels, H, W); the values are not clipped."""
        height, width = x.shape[-2:]
        picture = channels_last(pad_to_multiple(x, self.traits.size_multiple))
        return (self.conv_out(self.body(self.conv_in(picture))) + picture)[..., :height, :width]
