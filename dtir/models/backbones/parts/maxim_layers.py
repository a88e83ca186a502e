"""The parts of MAXIM (Tu et al., "MAXIM: Multi-Axis MLP for Image Processing", CVPR 2022) within one resolution.

Modules have the parameter names of the published Flax network.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import LayerNorm2d, PointwiseConv2d

SLOPE = 0.2
gelu = partial(F.gelu, approximate="tanh")


class Width(NamedTuple):
    """What the parts of one level have in common.

    Attributes:
        features: Channels C.
        block: Height and width of the blocks within which pixels are mixed.
        grid: Rows and columns of the grid whose cells are mixed.
        bias: Whether convolutions have one.
        proj_factor: Channels after the first projection of a gated part, over C.
        block_factor: Hidden channels of the mixing within blocks, over its own.
        grid_factor: The same of the mixing over the grid.
        reduction: Channels over those of the channel attention's bottleneck.
        dropout: Probability of a zero in training.
    """

    features: int
    block: tuple[int, int]
    grid: tuple[int, int]
    bias: bool
    proj_factor: int
    block_factor: int
    grid_factor: int
    reduction: int
    dropout: float


def conv3(channels_in: int, channels_out: int, bias: bool) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size."""
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=bias)


def to_cells(x: Tensor, rows: int, columns: int) -> Tensor:
    """(B, C, H, W) to the pixels of each cell of a grid, (B, rows columns, H/rows W/columns, C)."""
    batch, channels, height, width = x.shape
    cells = x.permute(0, 2, 3, 1).reshape(batch, rows, height // rows, columns, width // columns, channels)
    return cells.transpose(2, 3).reshape(batch, rows * columns, -1, channels)


def from_cells(cells: Tensor, rows: int, columns: int, height: int, width: int) -> Tensor:
    """The inverse of `to_cells`, channels last in memory."""
    batch, channels = len(cells), cells.shape[-1]
    x = cells.reshape(batch, rows, columns, height // rows, width // columns, channels).transpose(2, 3)
    return x.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


class GridMix(nn.Linear):
    """Mixes the pixels that have the same place in all cells of a grid: global, and dilated.

    Args:
        grid: Rows and columns of the grid.
        bias: Whether there is one.
    """

    def __init__(self, grid: tuple[int, int], bias: bool) -> None:
        super().__init__(grid[0] * grid[1], grid[0] * grid[1], bias)
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), sides multiples of the grid's, to the same shape."""
        cells = to_cells(x, *self.grid)
        mixed = _mix(self, cells.flatten(2)).view(cells.shape)
        return from_cells(mixed, *self.grid, *x.shape[-2:])


class BlockMix(nn.Linear):
    """Mixes the pixels of each block: local.

    Args:
        block: Height and width of a block.
        bias: Whether there is one.
    """

    def __init__(self, block: tuple[int, int], bias: bool) -> None:
        super().__init__(block[0] * block[1], block[0] * block[1], bias)
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), sides multiples of the block's, to the same shape."""
        height, width = x.shape[-2:]
        rows, columns = height // self.block[0], width // self.block[1]
        return from_cells(_mix(self, to_cells(x, rows, columns)), rows, columns, height, width)


def _mix(layer: nn.Linear, tokens: Tensor) -> Tensor:
    """A linear layer over the tokens of (..., tokens, C), without bringing them to the end."""
    mixed = layer.weight @ tokens
    return mixed if layer.bias is None else mixed + layer.bias[:, None]


class GatingUnit(nn.Module):
    """One half of the channels, mixed over pixels, is the gate of the other.

    Args:
        channels: Channels of the input.
        mix: The mixing.
    """

    def __init__(self, channels: int, mix: nn.Module) -> None:
        super().__init__()
        self.intermediate_layernorm = LayerNorm2d(channels // 2)
        self.Dense_0 = mix

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, channels / 2, H, W)."""
        u, v = x.chunk(2, dim=1)
        return torch.addcmul(u, u, self.Dense_0(self.intermediate_layernorm(v)))


class GmlpLayer(nn.Module):
    """Gated mixing of pixels, with a skip.

    Args:
        channels: Channels.
        factor: Hidden channels over `channels`.
        gate: Name of the gating unit in the published checkpoint.
        mix: The mixing of the gating unit.
        width: See `Width`.
    """

    def __init__(self, channels: int, factor: int, gate: str, mix: nn.Module, width: Width) -> None:
        super().__init__()
        self.LayerNorm = LayerNorm2d(channels)
        self.in_project = PointwiseConv2d(channels, channels * factor, width.bias)
        self.gate = gate
        self.add_module(gate, GatingUnit(channels * factor, mix))
        self.out_project = PointwiseConv2d(channels * factor // 2, channels, width.bias)
        self.dropout = nn.Dropout(width.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        y = self.get_submodule(self.gate)(gelu(self.in_project(self.LayerNorm(x))))
        return x + self.dropout(self.out_project(y))


class MultiAxisLayer(nn.Module):
    """Multi-axis gated MLP: one half of the channels is mixed over the grid, the other within blocks.

    Args:
        width: See `Width`.
    """

    def __init__(self, width: Width) -> None:
        super().__init__()
        inner = width.features * width.proj_factor
        self.LayerNorm_in = LayerNorm2d(width.features)
        self.in_project = PointwiseConv2d(width.features, inner, width.bias)
        grid, block = GridMix(width.grid, width.bias), BlockMix(width.block, width.bias)
        self.GridGmlpLayer = GmlpLayer(inner // 2, width.grid_factor, "GridGatingUnit", grid, width)
        self.BlockGmlpLayer = GmlpLayer(inner // 2, width.block_factor, "BlockGatingUnit", block, width)
        self.out_project = PointwiseConv2d(inner, width.features, width.bias)
        self.dropout = nn.Dropout(width.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        u, v = gelu(self.in_project(self.LayerNorm_in(x))).chunk(2, dim=1)
        y = torch.cat([self.GridGmlpLayer(u), self.BlockGmlpLayer(v)], 1)
        return self.dropout(self.out_project(y)) + x


class CALayer(nn.Module):
    """Channel attention: every channel times a gate that is computed from all channels' means.

    Args:
        width: See `Width`.
    """

    def __init__(self, width: Width) -> None:
        super().__init__()
        self.Conv_0 = PointwiseConv2d(width.features, width.features // width.reduction, width.bias)
        self.Conv_1 = PointwiseConv2d(width.features // width.reduction, width.features, width.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return x * self.Conv_1(F.relu(self.Conv_0(x.mean(dim=(2, 3), keepdim=True)))).sigmoid()


class RCAB(nn.Module):
    """Residual channel-attention block of convolutions.

    Args:
        width: See `Width`.
    """

    def __init__(self, width: Width) -> None:
        super().__init__()
        self.LayerNorm = LayerNorm2d(width.features)
        self.conv1 = conv3(width.features, width.features, width.bias)
        self.conv2 = conv3(width.features, width.features, width.bias)
        self.channel_attention = CALayer(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        y = self.conv2(F.leaky_relu(self.conv1(self.LayerNorm(x)), SLOPE))
        return self.channel_attention(y) + x


class MlpBlock(nn.Module):
    """Two layers over the channels.

    Args:
        width: See `Width`.
    """

    def __init__(self, width: Width) -> None:
        super().__init__()
        self.Dense_0 = PointwiseConv2d(width.features, width.features, width.bias)
        self.Dense_1 = PointwiseConv2d(width.features, width.features, width.bias)
        self.dropout = nn.Dropout(width.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return self.Dense_1(self.dropout(gelu(self.Dense_0(x))))


class RDCAB(nn.Module):
    """Residual channel-attention block of layers over the channels.

    Args:
        width: See `Width`.
    """

    def __init__(self, width: Width) -> None:
        super().__init__()
        self.LayerNorm = LayerNorm2d(width.features)
        self.channel_mixing = MlpBlock(width)
        self.channel_attention = CALayer(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return x + self.channel_attention(self.channel_mixing(self.LayerNorm(x)))


class GatingWeights(nn.Module):
    """The gate that one signal computes for another, over the grid and within blocks.

    Args:
        width: See `Width`.
    """

    def __init__(self, width: Width) -> None:
        super().__init__()
        inner = width.features * width.proj_factor
        self.LayerNorm_in = LayerNorm2d(width.features)
        self.in_project = PointwiseConv2d(width.features, inner, width.bias)
        self.Dense_0, self.Dense_1 = GridMix(width.grid, width.bias), BlockMix(width.block, width.bias)
        self.out_project = PointwiseConv2d(inner, width.features, width.bias)
        self.dropout = nn.Dropout(width.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        u, v = gelu(self.in_project(self.LayerNorm_in(x))).chunk(2, dim=1)
        return self.dropout(self.out_project(torch.cat([self.Dense_0(u), self.Dense_1(v)], 1)))


class CrossGatingBlock(nn.Module):
    """Two signals gate each other.

    Args:
        x_channels: Channels of the first.
        y_channels: Channels of the second.
        width: See `Width`.
        upsample_y: Whether the second has half the height and width.
    """

    def __init__(self, x_channels: int, y_channels: int, width: Width, upsample_y: bool) -> None:
        super().__init__()
        features, bias = width.features, width.bias
        self.ConvTranspose_0 = up(y_channels, features, bias) if upsample_y else nn.Identity()
        self.Conv_0 = PointwiseConv2d(x_channels, features, bias)
        self.Conv_1 = PointwiseConv2d(features if upsample_y else y_channels, features, bias)
        for signal in "xy":
            self.add_module(f"LayerNorm_{signal}", LayerNorm2d(features))
            self.add_module(f"in_project_{signal}", PointwiseConv2d(features, features, bias))
            self.add_module(f"SplitHeadMultiAxisGating_{signal}", GatingWeights(width))
            self.add_module(f"out_project_{signal}", PointwiseConv2d(features, features, bias))
        self.dropout = nn.Dropout(width.dropout)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(B, x_channels, H, W) and (B, y_channels, H, W) or half of that to both signals, (B, C, H, W)."""
        skip_x, skip_y = self.Conv_0(x), self.Conv_1(self.ConvTranspose_0(y))
        x = gelu(self.in_project_x(self.LayerNorm_x(skip_x)))
        y = gelu(self.in_project_y(self.LayerNorm_y(skip_y)))
        gate_x, gate_y = self.SplitHeadMultiAxisGating_x(x), self.SplitHeadMultiAxisGating_y(y)
        y = self.dropout(self.out_project_y(y * gate_x)) + skip_y
        x = self.dropout(self.out_project_x(x * gate_y)) + y + skip_x
        return x, y


def up(channels: int, features: int, bias: bool) -> nn.ConvTranspose2d:
    """A transposed convolution that doubles height and width."""
    return nn.ConvTranspose2d(channels, features, 2, 2, bias=bias)
