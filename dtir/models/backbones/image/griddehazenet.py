"""GridDehazeNet (Liu et al., "GridDehazeNet: Attention-Based Multi-Scale Network for Image Dehazing", ICCV 2019), with
the published state-dict keys."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.core.errors import ConfigError
from dtir.models.backbones.parts.layers import PointwiseConv2d, channels_last
from dtir.models.backbones.parts.reading import State, count
from dtir.models.backbones.traits import CENTRED_RANGE, Published, Traits
from dtir.registry import BACKBONES


class MakeDense(nn.Module):
    """A convolution whose output joins its input.

    Args:
        in_channels: Channels of the input.
        growth_rate: Channels that join it.
    """

    def __init__(self, in_channels: int, growth_rate: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, growth_rate, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C + growth_rate, H, W)."""
        return torch.cat([x, F.relu(self.conv(x))], 1)


class RDB(nn.Module):
    """A residual dense block.

    Args:
        in_channels: Channels.
        num_dense_layer: Dense layers.
        growth_rate: Channels that each of them adds.
    """

    def __init__(self, in_channels: int, num_dense_layer: int, growth_rate: int) -> None:
        super().__init__()
        self.residual_dense_layers = nn.Sequential(
            *[MakeDense(in_channels + k * growth_rate, growth_rate) for k in range(num_dense_layer)]
        )
        self.conv_1x1 = PointwiseConv2d(in_channels + num_dense_layer * growth_rate, in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return self.conv_1x1(self.residual_dense_layers(x)) + x


class DownSample(nn.Module):
    """Half the height and width, rounded up, and twice the channels.

    Args:
        in_channels: Channels of the input.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, in_channels, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(in_channels, 2 * in_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 2C, ceil(H / 2), ceil(W / 2))."""
        return F.relu(self.conv2(F.relu(self.conv1(x))))


class UpSample(nn.Module):
    """Twice the height and width, or one less, and half the channels.

    Args:
        in_channels: Channels of the input.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(in_channels, in_channels, 3, stride=2, padding=1)
        self.conv = nn.Conv2d(in_channels, in_channels // 2, 3, padding=1)

    def forward(self, x: Tensor, output_size: torch.Size) -> Tensor:
        """(B, C, H, W) to (B, C / 2, H', W'), the height and width of `output_size`."""
        return F.relu(self.conv(F.relu(self.deconv(x, output_size=output_size))))


@BACKBONES.register_module(name=["GateHazeNet", "GridDehazeNet"])
class GateHazeNet(nn.Module):
    """GridDehazeNet: rows of residual dense blocks at three scales, joined by learned weights in every column.

    It expects pictures in [-1, 1] and gives pictures in [0, inf), those in [0, 1] being the dehazed ones; any size.

    Args:
        in_channels: Channels of the picture.
        depth_rate: Channels of the finest row; they double from row to row.
        kernel_size: 3.
        stride: 2.
        height: Rows.
        width: Columns, even.
        num_dense_layer: Dense layers of a block.
        growth_rate: Channels that a dense layer adds.
        attention: Whether the weights of the joins are trained.

    Raises:
        ConfigError: `kernel_size` or `stride` is another one, which the published network cannot have either, or
            `width` is odd.
    """

    traits: ClassVar[Traits] = Traits(input_range=CENTRED_RANGE, size_multiple=4, tiles="exact")
    PUBLISHED: ClassVar[Mapping[str, Published]] = {"griddehazenet": Published({}, 0.958051)}

    def __init__(
        self,
        in_channels: int = 3,
        depth_rate: int = 16,
        kernel_size: int = 3,
        stride: int = 2,
        height: int = 3,
        width: int = 6,
        num_dense_layer: int = 4,
        growth_rate: int = 16,
        attention: bool = True,
    ) -> None:
        super().__init__()
        self.traits = dataclasses.replace(type(self).traits, size_multiple=2 ** (height - 1))
        if (kernel_size, stride) != (3, 2) or width % 2:
            raise ConfigError(
                f"GateHazeNet: kernel_size={kernel_size}, stride={stride}, width={width}; the published network has "
                "kernel_size=3, stride=2 and an even width."
            )
        self.height, self.width = height, width
        widths = [depth_rate * 2**row for row in range(height)]
        self.coefficient = nn.Parameter(torch.ones(height, width, 2, widths[-1]), requires_grad=attention)
        self.conv_in = nn.Conv2d(in_channels, depth_rate, 3, padding=1)
        self.conv_out = nn.Conv2d(depth_rate, in_channels, 3, padding=1)
        self.rdb_in = RDB(depth_rate, num_dense_layer, growth_rate)
        self.rdb_out = RDB(depth_rate, num_dense_layer, growth_rate)
        self.rdb_module, self.downsample_module, self.upsample_module = (nn.ModuleDict() for _ in range(3))
        for row, channels in enumerate(widths):
            for column in range(width - 1):
                self.rdb_module[f"{row}_{column}"] = RDB(channels, num_dense_layer, growth_rate)
        for row, channels in enumerate(widths[:-1]):
            for column in range(width // 2):
                self.downsample_module[f"{row}_{column}"] = DownSample(channels)
        for row in reversed(range(height - 1)):
            for column in range(width // 2, width):
                self.upsample_module[f"{row}_{column}"] = UpSample(widths[row + 1])

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes.

        Raises:
            KeyError: The keys are another network's.
        """
        height, width, _, _ = state["coefficient"].shape
        first = state["conv_in.weight"]
        layers = "rdb_in.residual_dense_layers."
        return {
            "in_channels": first.shape[1],
            "depth_rate": len(first),
            "height": height,
            "width": width,
            "num_dense_layer": count(state, layers),
            "growth_rate": len(state[f"{layers}0.conv.weight"]),
        }

    def ordered_blocks(self) -> list[str]:
        """The residual dense blocks, column by column."""
        grid = [f"rdb_module.{row}_{column}" for column in range(self.width - 1) for row in range(self.height)]
        return ["rdb_in", *grid, "rdb_out"]

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) in [-1, 1], H, W >= 1, to (B, in_channels, H, W), not below 0."""
        rows = [self.rdb_in(self.conv_in(channels_last(x)))]
        for row in range(1, self.height):
            rows.append(self.downsample_module[f"{row - 1}_0"](rows[-1]))
        for column in range(1, self.width // 2):
            rows = self._downwards(rows, column)
        for column in range(self.width // 2, self.width):
            rows = self._upwards(rows, column)
        return F.relu(self.conv_out(self.rdb_out(rows[0])))

    def _downwards(self, rows: list[Tensor], column: int) -> list[Tensor]:
        """The features of a column in the left half, fine to coarse, from those of the column before."""
        new = [self.rdb_module[f"0_{column - 1}"](rows[0])]
        for row in range(1, self.height):
            beside = self.rdb_module[f"{row}_{column - 1}"](rows[row])
            above = self.downsample_module[f"{row - 1}_{column}"](new[-1])
            new.append(self._join(row, column, beside, above))
        return new

    def _upwards(self, rows: list[Tensor], column: int) -> list[Tensor]:
        """The features of a column in the right half, from coarse to fine, fine first."""
        lowest = self.height - 1
        new = [self.rdb_module[f"{lowest}_{column - 1}"](rows[lowest])]
        for row in reversed(range(lowest)):
            beside = self.rdb_module[f"{row}_{column - 1}"](rows[row])
            below = self.upsample_module[f"{row}_{column}"](new[0], rows[row].shape[-2:])
            new.insert(0, self._join(row, column, beside, below))
        return new

    def _join(self, row: int, column: int, beside: Tensor, across: Tensor) -> Tensor:
        weights = self.coefficient[row, column, :, : beside.shape[1], None, None]
        return torch.addcmul(beside * weights[0], across, weights[1])
