"""MAXIM (Tu et al., "MAXIM: Multi-Axis MLP for Image Processing", CVPR 2022).

The published network is written in Flax; modules have its parameter names here, and `maxim_flax` takes its checkpoints.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.core.errors import ConfigError
from dtir.models.backbones.parts.layers import PointwiseConv2d, channels_last, pad_to_multiple
from dtir.models.backbones.parts.maxim_layers import RCAB, RDCAB, CrossGatingBlock, MultiAxisLayer, Width, conv3, up
from dtir.models.backbones.parts.reading import State
from dtir.models.backbones.traits import Published, Traits
from dtir.registry import BACKBONES

from .maxim_settings import settings_from

VARIANT = {"features": 32, "num_groups": 2, "num_bottleneck_blocks": 2}
WIDE = {**VARIANT, "features": 64}


class EncoderBlock(nn.Module):
    """One level of an encoder, or the part of a decoder's level after the up-sampling.

    Args:
        channels: Channels of all inputs together.
        groups: How many pairs of multi-axis layer and channel attention there are.
        width: See `Width`.
        use_global_mlp: Whether there are multi-axis layers.
        downsample: Whether there is an output of half the height and width.
        cross_gating: Whether features of an earlier stage come in.
    """

    def __init__(
        self, channels: int, groups: int, width: Width, use_global_mlp: bool, downsample: bool, cross_gating: bool
    ) -> None:
        super().__init__()
        features = width.features
        self.Conv_0 = PointwiseConv2d(channels, features, width.bias)
        self.groups, self.use_global_mlp = range(groups), use_global_mlp
        for k in self.groups:
            if use_global_mlp:
                self.add_module(f"SplitHeadMultiAxisGmlpLayer_{k}", MultiAxisLayer(width))
            self.add_module(f"channel_attention_block_1{k}", RCAB(width))
        if cross_gating:
            self.cross_gating_block = CrossGatingBlock(features, features, width, upsample_y=False)
        if downsample:
            self.Conv_1 = nn.Conv2d(features, features, 4, 2, 1, bias=width.bias)

    def forward(self, x: Tensor, earlier: Tensor | None = None) -> Tensor:
        """(B, channels, H, W), and features of an earlier stage (B, C, H, W), to (B, C, H, W)."""
        x = skip = self.Conv_0(x)
        for k in self.groups:
            if self.use_global_mlp:
                x = self.get_submodule(f"SplitHeadMultiAxisGmlpLayer_{k}")(x)
            x = self.get_submodule(f"channel_attention_block_1{k}")(x)
        x = x + skip
        return x if earlier is None else self.cross_gating_block(x, earlier)[0]


class DecoderBlock(nn.Module):
    """One level of a decoder.

    Args:
        channels: Channels from the level below.
        bridge: Channels from the encoder.
        groups: As in `EncoderBlock`.
        width: See `Width`.
        use_global_mlp: As in `EncoderBlock`.
    """

    def __init__(self, channels: int, bridge: int, groups: int, width: Width, use_global_mlp: bool) -> None:
        super().__init__()
        features = width.features
        self.ConvTranspose_0 = up(channels, features, width.bias)
        self.UNetEncoderBlock_0 = EncoderBlock(features + bridge, groups, width, use_global_mlp, False, False)

    def forward(self, x: Tensor, bridge: Tensor) -> Tensor:
        """(B, channels, H/2, W/2) and (B, bridge, H, W) to (B, C, H, W)."""
        return self.UNetEncoderBlock_0(torch.cat([self.ConvTranspose_0(x), bridge], 1))


class BottleneckBlock(nn.Module):
    """The lowest level.

    Args:
        groups: As in `EncoderBlock`.
        width: See `Width`.
    """

    def __init__(self, groups: int, width: Width) -> None:
        super().__init__()
        self.input_proj = PointwiseConv2d(width.features, width.features, width.bias)
        self.groups = range(groups)
        for k in self.groups:
            self.add_module(f"SplitHeadMultiAxisGmlpLayer_{k}", MultiAxisLayer(width))
            self.add_module(f"channel_attention_block_1_{k}", RDCAB(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        x = skip = self.input_proj(x)
        for k in self.groups:
            x = self.get_submodule(f"SplitHeadMultiAxisGmlpLayer_{k}")(x)
            x = self.get_submodule(f"channel_attention_block_1_{k}")(x)
        return x + skip


class SAM(nn.Module):
    """Supervised attention: a picture, and the features it lets through to the next stage.

    Args:
        features: Channels of the features.
        output_channels: Channels of the picture.
        bias: Whether convolutions have one.
    """

    def __init__(self, features: int, output_channels: int, bias: bool) -> None:
        super().__init__()
        self.Conv_0 = conv3(features, features, bias)
        self.Conv_1 = conv3(features, output_channels, bias)
        self.Conv_2 = conv3(output_channels, features, bias)

    def forward(self, x: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
        """(B, features, H, W) and the degraded (B, 3, H, W) to features and the restored picture."""
        restored = _restored(self.Conv_1(x), picture)
        return torch.addcmul(x, self.Conv_0(x), self.Conv_2(restored).sigmoid()), restored


def _restored(out: Tensor, picture: Tensor) -> Tensor:
    return out + picture if out.shape[1] == picture.shape[1] else out


class Rescale(nn.Module):
    """Bilinear up- or down-sampling, then a projection: the published `UpSampleRatio`.

    Args:
        channels: Channels of the input.
        features: Channels of the output.
        ratio: Factor of height and width.
        bias: Whether the projection has one.
    """

    def __init__(self, channels: int, features: int, ratio: float, bias: bool) -> None:
        super().__init__()
        self.ratio = ratio
        self.Conv_0 = PointwiseConv2d(channels, features, bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, features, ratio H, ratio W)."""
        if self.ratio > 1:
            x = F.interpolate(x, scale_factor=self.ratio, mode="bilinear", align_corners=False)
        elif self.ratio < 1:
            # There is no such kernel for the half-precision types.
            fine = x.to(torch.promote_types(x.dtype, torch.float32))
            fine = F.interpolate(fine, scale_factor=self.ratio, mode="bilinear", align_corners=False, antialias=True)
            x = fine.to(x.dtype)
        return self.Conv_0(x)


@BACKBONES.register_module()
class MAXIM(nn.Module):
    """MAXIM: U-Net stages of gated MLPs that mix pixels over a grid and within blocks, refined by cross gating.

    Published variants: S-1, S-2 and S-3 have `features=32, num_groups=2, num_bottleneck_blocks=2` and 1, 2 or 3
    stages, M-1 to M-3 the same with `features=64`; the checkpoints have `num_supervision_scales=3`.

    Args:
        features: Channels at full resolution; they double at every level down.
        depth: Levels.
        num_stages: Stages, each a U-Net.
        num_groups: Layers of each level.
        use_bias: Whether convolutions and linear layers have a bias.
        num_supervision_scales: How many resolutions have an output.
        use_global_mlp: Whether the levels, other than the lowest, have multi-axis layers.
        high_res_stages: How many levels use the first of the following sizes; the others use the second.
        block_size_hr: Height and width of the blocks.
        block_size_lr: The same of the lower levels, and their grid.
        grid_size_hr: Rows and columns of the grid.
        num_bottleneck_blocks: Blocks at the lowest level.
        block_gmlp_factor: Hidden channels of the mixing within blocks, over its own.
        grid_gmlp_factor: The same of the mixing over the grid.
        input_proj_factor: Channels after the first projection of a multi-axis layer, over its own.
        channels_reduction: Channels over those of the channel attention's bottleneck.
        num_outputs: Channels of the output.
        dropout_rate: Probability of a zero in training.

    Raises:
        ConfigError: There are more resolutions with an output than levels.
    """

    traits: ClassVar[Traits] = Traits(size_multiple=64, licence="Apache-2.0")
    PUBLISHED: ClassVar[Mapping[str, Published]] = {
        "maxim_s1": Published({**VARIANT, "num_stages": 1}, 6.108515, gflops=93.16),
        "maxim_s2": Published(VARIANT, 13.35383, gflops=206.74),
        "maxim_s2_multi_scale": Published({**VARIANT, "num_supervision_scales": 3}, 14.1, "MAXIM", 216.0),
        "maxim_s3": Published({**VARIANT, "num_stages": 3}, 20.599145, gflops=320.32),
        "maxim_s3_multi_scale": Published({**VARIANT, "num_stages": 3, "num_supervision_scales": 3}, 22.2, "MAXIM"),
        "maxim_m1": Published({**WIDE, "num_stages": 1}, 19.361219, gflops=308.5),
        "maxim_m2": Published(WIDE, 40.83911, gflops=675.26),
        "maxim_m3": Published({**WIDE, "num_stages": 3}, 62.317001, gflops=1042.01),
    }

    def __init__(
        self,
        features: int = 64,
        depth: int = 3,
        num_stages: int = 2,
        num_groups: int = 1,
        use_bias: bool = True,
        num_supervision_scales: int = 1,
        use_global_mlp: bool = True,
        high_res_stages: int = 2,
        block_size_hr: Sequence[int] = (16, 16),
        block_size_lr: Sequence[int] = (8, 8),
        grid_size_hr: Sequence[int] = (16, 16),
        num_bottleneck_blocks: int = 1,
        block_gmlp_factor: int = 2,
        grid_gmlp_factor: int = 2,
        input_proj_factor: int = 2,
        channels_reduction: int = 4,
        num_outputs: int = 3,
        dropout_rate: float = 0.0,
    ) -> None:
        super().__init__()
        if not 1 <= num_supervision_scales <= depth:
            raise ConfigError(
                f"MAXIM: num_supervision_scales={num_supervision_scales} must be 1..depth={depth}, the levels."
            )
        self.depth, self.num_stages, self.scales = depth, num_stages, num_supervision_scales
        self.num_groups, self.num_bottlenecks = num_groups, num_bottleneck_blocks
        low = tuple(block_size_lr)

        def width_of(level: int) -> Width:
            high = level < high_res_stages
            return Width(
                features * 2 ** min(level, depth - 1),
                tuple(block_size_hr) if high else low,
                tuple(grid_size_hr) if high else low,
                use_bias,
                input_proj_factor,
                block_gmlp_factor,
                grid_gmlp_factor,
                channels_reduction,
                dropout_rate,
            )

        self.widths = [width_of(level) for level in range(depth)]
        self.bottom = width_of(depth)._replace(block=low, grid=low)
        for stage in range(num_stages):
            self._add_stage(stage, use_global_mlp, num_outputs)
        self.traits = dataclasses.replace(type(self).traits, size_multiple=self._size_multiple())

    def _add_stage(self, stage: int, use_global_mlp: bool, num_outputs: int) -> None:
        prefix, later = f"stage_{stage}_", stage > 0
        channels = [width.features for width in self.widths]
        bias = self.bottom.bias
        for i in range(self.scales):
            self.add_module(f"{prefix}input_conv_{i}", conv3(3, channels[i], bias))
            if later:
                fuse = CrossGatingBlock(channels[i], channels[i], self.widths[i], upsample_y=False)
                self.add_module(f"{prefix}input_fuse_sam_{i}", fuse)
        below = channels[0]
        for i, width in enumerate(self.widths):
            joined = below + (width.features if i < self.scales else 0)
            block = EncoderBlock(joined, self.num_groups, width, use_global_mlp, True, later)
            self.add_module(f"{prefix}encoder_block_{i}", block)
            below = width.features
        for i in range(self.num_bottlenecks):
            self.add_module(f"{prefix}global_block_{i}", BottleneckBlock(self.num_groups, self.bottom))
        gating = below
        # Flax numbers the nameless layers of all stages in the order of their calls.
        numbers = iter(range(2 * stage * self.depth**2, 2 * (stage + 1) * self.depth**2))
        for i in reversed(range(self.depth)):
            for j, c in enumerate(channels):
                self.add_module(f"UpSampleRatio_{next(numbers)}", Rescale(c, channels[i], 2.0 ** (j - i), bias))
            block = CrossGatingBlock(self.depth * channels[i], gating, self.widths[i], upsample_y=True)
            self.add_module(f"{prefix}cross_gating_block_{i}", block)
            gating = channels[i]
        for i in reversed(range(self.depth)):
            for j, c in enumerate(reversed(channels)):
                ratio = 2.0 ** (self.depth - 1 - j - i)
                self.add_module(f"UpSampleRatio_{next(numbers)}", Rescale(c, channels[i], ratio, bias))
            bridge = self.depth * channels[i]
            block = DecoderBlock(below, bridge, self.num_groups, self.widths[i], use_global_mlp)
            self.add_module(f"{prefix}decoder_block_{i}", block)
            below = channels[i]
            if i < self.scales and stage < self.num_stages - 1:
                self.add_module(f"{prefix}supervised_attention_module_{i}", SAM(below, num_outputs, bias))
            elif i < self.scales:
                self.add_module(f"{prefix}output_conv_{i}", conv3(below, num_outputs, bias))

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes.

        Blocks and grids are taken to be squares.

        Raises:
            KeyError: The keys are another network's.
        """
        return settings_from(state)

    def _size_multiple(self) -> int:
        """What height and width are padded to a multiple of, by reflection."""
        sides = [side * 2**i for i, width in enumerate(self.widths) for side in (*width.block, *width.grid)]
        return max(*sides, *(side * 2**self.depth for side in self.bottom.block))

    def ordered_blocks(self) -> list[str]:
        """The channel-attention blocks, stage after stage, shallow to deep."""
        names = []
        for stage in range(self.num_stages):
            groups = range(self.num_groups)
            levels = range(self.depth)
            parts = [f"encoder_block_{i}.channel_attention_block_1{k}" for i in levels for k in groups]
            for i in range(self.num_bottlenecks):
                parts += [f"global_block_{i}.channel_attention_block_1_{k}" for k in groups]
            block = "decoder_block_{}.UNetEncoderBlock_0.channel_attention_block_1{}"
            parts += [block.format(i, k) for i in reversed(levels) for k in groups]
            names += [f"stage_{stage}_{part}" for part in parts]
        return names

    def forward(self, x: Tensor) -> list[Tensor]:
        """Pictures (B, 3, H, W) in [0, 1], H, W >= 1.

        Returns:
            Restored pictures, not clipped: those of the last stage first, and of each stage that of full size
            (B, num_outputs, H, W) before those of half and quarter of it, rounded up.
        """
        height, width = x.shape[-2:]
        padded = channels_last(pad_to_multiple(x, self.traits.size_multiple))
        # Flax's nearest pixel is the one right below the centre.
        pictures = [padded[..., 2**i // 2 :: 2**i, 2**i // 2 :: 2**i] for i in range(self.scales)]
        earlier, fused, outputs = [None] * self.depth, [None] * self.scales, []
        for stage in range(self.num_stages):
            earlier, fused, restored = self._stage(stage, pictures, earlier, fused)
            outputs = restored + outputs
        sizes = [(-(-height // 2**i), -(-width // 2**i)) for i in range(self.scales)] * self.num_stages
        return [out[..., :h, :w] for out, (h, w) in zip(outputs, sizes, strict=True)]

    def _stage(
        self, stage: int, pictures: list[Tensor], earlier: list, fused: list
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Pictures of all scales, and per level what the stage before passes on, to the same for the next stage."""

        def part(name: str) -> nn.Module:
            return self.get_submodule(f"stage_{stage}_{name}")

        numbers = iter(range(2 * stage * self.depth**2, 2 * (stage + 1) * self.depth**2))
        inputs = [part(f"input_conv_{i}")(picture) for i, picture in enumerate(pictures)]
        if stage > 0:
            inputs = [part(f"input_fuse_sam_{i}")(a, b)[0] for i, (a, b) in enumerate(zip(inputs, fused, strict=True))]
        x, encoded = inputs[0], []
        for i in range(self.depth):
            block = part(f"encoder_block_{i}")
            encoded.append(block(torch.cat([x, inputs[i]], 1) if i < self.scales else x, earlier[i]))
            x = block.Conv_1(encoded[-1])
        for i in range(self.num_bottlenecks):
            x = part(f"global_block_{i}")(x)
        signal, skips = x, []
        for i in reversed(range(self.depth)):
            skip, signal = part(f"cross_gating_block_{i}")(self._rescaled(encoded, numbers), signal)
            skips.append(skip)
        decoded, passed_on, restored = [], [], []
        for i in reversed(range(self.depth)):
            x = part(f"decoder_block_{i}")(x, self._rescaled(skips, numbers))
            decoded.append(x)
            if i < self.scales and stage < self.num_stages - 1:
                features, picture = part(f"supervised_attention_module_{i}")(x, pictures[i])
                passed_on.append(features)
                restored.append(picture)
            elif i < self.scales:
                restored.append(_restored(part(f"output_conv_{i}")(x), pictures[i]))
        together = [enc + dec for enc, dec in zip(encoded, reversed(decoded), strict=True)]
        return together, passed_on[::-1], restored[::-1]

    def _rescaled(self, features: Iterable[Tensor], numbers: Iterable[int]) -> Tensor:
        return torch.cat([self.get_submodule(f"UpSampleRatio_{next(numbers)}")(x) for x in features], 1)
