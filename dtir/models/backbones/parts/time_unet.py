"""The U-Net with time embedding that IR-SDE, DA-CLIP and DiffUIR share, and its parts, with their published keys.

The published norms use eps 1e-5 in float32 and 1e-3 in other types; here they are always computed in float32 with 1e-5,
so that automatic mixed precision does not change what a network computes.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.models.backbones.traits import Traits

from .layers import PointwiseConv2d, channels_last, pad_to_multiple
from .reading import State, count

HEADS, HEAD_DIM = 4, 32


class SinusoidalPosEmb(nn.Module):
    """Sines and cosines of time steps.

    Args:
        dim: Length of the embedding, even and at least 4.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, t: Tensor) -> Tensor:
        """Time steps (B,) to (B, dim) in float32."""
        half = self.dim // 2
        index = torch.arange(half, device=t.device, dtype=torch.float32)
        phase = t.float()[:, None] * torch.exp(index * (-math.log(10000.0) / (half - 1)))
        return torch.cat([phase.sin(), phase.cos()], dim=-1)


class TimeMLP(nn.Sequential):
    """An embedding of the time step, followed by layers in the type of their weights."""

    def forward(self, t: Tensor) -> Tensor:
        """Time steps (B,) to features (B, C)."""
        embedding, *layers = self
        x = embedding(t).to(layers[-1].weight.dtype)
        for layer in layers:
            x = layer(x)
        return x


def time_tensor(time: Tensor | float, like: Tensor) -> Tensor:
    """A time step, or one per picture, as a tensor (1,) or (B,) where the pictures are."""
    return torch.as_tensor(time, device=like.device).reshape(-1)


def beside_condition(x: Tensor, condition: Tensor | None, mask_channels: int = 0) -> Tensor:
    """The input of IR-SDE's networks: what states differ from the degraded pictures by, and these.

    Args:
        x: States (B, C, H, W).
        condition: Degraded pictures and masks (B, C + mask_channels, H, W); by default the states themselves, and the
            mask of pictures of which nothing is missing, -1.
        mask_channels: Channels of a mask.

    Returns:
        (B, 2 C + mask_channels, H, W).
    """
    if condition is None:
        condition = F.pad(x, (0, 0, 0, 0, 0, mask_channels), value=-1.0)
    return torch.cat([x - condition[:, : x.shape[1]], condition], 1)


class GainNorm(nn.Module):
    """Layer normalisation over the channels at every pixel, with a gain `g` and no bias.

    Args:
        dim: Channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape, channels last in memory."""
        gain = self.g.flatten()
        return F.layer_norm(x.permute(0, 2, 3, 1), gain.shape, gain, None, 1e-5).permute(0, 3, 1, 2)


class Residual(nn.Module):
    """Adds its input to what a layer makes of it.

    Args:
        fn: The layer.
    """

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor, *args: Tensor | None) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return self.fn(x, *args) + x


class PreNorm(nn.Module):
    """A layer on normalised features.

    Args:
        dim: Channels.
        fn: The layer.
    """

    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn
        self.norm = GainNorm(dim)

    def forward(self, x: Tensor, *args: Tensor | None) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return self.fn(self.norm(x), *args)


class LinearAttention(nn.Module):
    """Attention at a cost linear in the pixels: keys and values are summed up first (Shen et al., 2021).

    The output projection is multiplied with that small sum, so that each query is read once.

    Args:
        dim: Channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        inner = HEADS * HEAD_DIM
        self.to_qkv = PointwiseConv2d(dim, 3 * inner, bias=False)
        self.to_out = nn.Sequential(PointwiseConv2d(inner, dim), GainNorm(dim))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to the same shape; `context` plays no part."""
        batch, dim, height, width = x.shape
        tokens = self.to_qkv(x).permute(0, 2, 3, 1).reshape(batch, height * width, 3, HEADS, HEAD_DIM)
        q, k, v = tokens.unbind(2)
        q = q.softmax(-1).flatten(2)
        summary = k.softmax(1).permute(0, 2, 3, 1) @ v.permute(0, 2, 1, 3)
        summary = summary * (HEAD_DIM**-0.5 / (height * width))
        project, norm = self.to_out
        weight = project.weight.reshape(dim, HEADS, HEAD_DIM).permute(1, 2, 0)
        out = q @ (summary @ weight).flatten(1, 2) + project.bias
        return norm(out.view(batch, height, width, dim).permute(0, 3, 1, 2))


class Attention(nn.Module):
    """Attention between all pixels.

    Args:
        dim: Channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        inner = HEADS * HEAD_DIM
        self.to_qkv = PointwiseConv2d(dim, 3 * inner, bias=False)
        self.to_out = PointwiseConv2d(inner, dim)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to the same shape; `context` plays no part."""
        batch, _, height, width = x.shape
        tokens = self.to_qkv(x).permute(0, 2, 3, 1).reshape(batch, height * width, 3, HEADS, HEAD_DIM)
        q, k, v = tokens.permute(2, 0, 3, 1, 4).unbind(0)
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return self.to_out(out.reshape(batch, height, width, HEADS * HEAD_DIM).permute(0, 3, 1, 2))


class ConvBlock(nn.Module):
    """A convolution, scaled and shifted by the time, and SiLU.

    Args:
        dim_in: Channels of the input.
        dim_out: Channels of the output.
    """

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(dim_in, dim_out, 3, padding=1, bias=False)

    def forward(self, x: Tensor, scale_shift: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(B, dim_in, H, W), with scale and shift (B, dim_out, 1, 1), to (B, dim_out, H, W)."""
        return F.silu(modulated(self.proj(x), scale_shift))


def modulated(x: Tensor, scale_shift: tuple[Tensor, Tensor] | None) -> Tensor:
    """x (1 + scale) + shift, or x."""
    if scale_shift is None:
        return x
    scale, shift = scale_shift
    return torch.addcmul(shift, x, scale + 1)


class ResBlock(nn.Module):
    """Two convolution blocks with a skip; where there is a time, the first is scaled and shifted by it.

    Args:
        dim_in: Channels of the input.
        dim_out: Channels of the output.
        time_dim: Length of the time features, None where there is no time.
        block: Makes a convolution block of channels in and out.
        bias: Whether the 1x1 convolution of the skip has one.
    """

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        time_dim: int | None,
        block: Callable[[int, int], nn.Module] = ConvBlock,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time_dim, 2 * dim_out)) if time_dim else None
        self.block1 = block(dim_in, dim_out)
        self.block2 = block(dim_out, dim_out)
        self.res_conv = PointwiseConv2d(dim_in, dim_out, bias=bias) if dim_in != dim_out else nn.Identity()

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        """(B, dim_in, H, W) and time features (B, time_dim) to (B, dim_out, H, W)."""
        scale_shift = self.mlp(t)[..., None, None].chunk(2, dim=1) if self.mlp else None
        return self.block2(self.block1(x, scale_shift)) + self.res_conv(x)


class TimeUNet(nn.Module):
    """A U-Net of residual blocks and attention, with the time in every block.

    Args:
        dims: Channels: of the first features, then after each level.
        time_mlp: From time steps (B,) to (B, time_dim).
        resblock: Makes a residual block of channels in and out.
        attention: Makes the attention of a level from its index and channels.
        middle_attention: Makes the attention at the bottom from its channels.
        init_conv: From the input to the first features.
        final_conv: From the first features to the output.
        bias: Whether the convolutions that end the lowest and the highest level have one.
    """

    traits: ClassVar[Traits] = Traits(size_multiple=16, licence="MIT")

    def __init__(
        self,
        dims: Sequence[int],
        time_mlp: nn.Module,
        resblock: Callable[[int, int], nn.Module],
        attention: Callable[[int, int], nn.Module],
        middle_attention: Callable[[int], nn.Module],
        init_conv: nn.Module,
        final_conv: nn.Module,
        bias: bool,
    ) -> None:
        super().__init__()
        self.init_conv, self.time_mlp = init_conv, time_mlp
        self.downs, ups = nn.ModuleList(), []
        levels = list(enumerate(itertools.pairwise(dims)))
        last = len(levels) - 1
        for level, (fine, coarse) in levels:
            down = nn.Conv2d(fine, coarse, 4, 2, 1) if level < last else nn.Conv2d(fine, coarse, 3, 1, 1, bias=bias)
            up = upsample(coarse, fine) if level > 0 else nn.Conv2d(coarse, fine, 3, 1, 1, bias=bias)
            attend = Residual(PreNorm(fine, attention(level, fine)))
            self.downs.append(nn.ModuleList([resblock(fine, fine), resblock(fine, fine), attend, down]))
            joined = [resblock(coarse + fine, coarse) for _ in range(2)]
            ups.insert(0, nn.ModuleList([*joined, Residual(PreNorm(coarse, attention(level, coarse))), up]))
        self.ups = nn.ModuleList(ups)
        self.mid_block1 = resblock(dims[-1], dims[-1])
        self.mid_attn = Residual(PreNorm(dims[-1], middle_attention(dims[-1])))
        self.mid_block2 = resblock(dims[-1], dims[-1])
        self.final_res_block = resblock(2 * dims[0], dims[0])
        self.final_conv = final_conv
        self.traits = dataclasses.replace(type(self).traits, size_multiple=2 ** len(self.downs))

    def ordered_blocks(self) -> list[str]:
        """The residual blocks, shallow to deep."""
        downs = [f"downs.{level}.{k}" for level in range(len(self.downs)) for k in range(2)]
        ups = [f"ups.{level}.{k}" for level in range(len(self.ups)) for k in range(2)]
        return [*downs, "mid_block1", "mid_block2", *ups, "final_res_block"]

    def run(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """The U-Net itself.

        Args:
            x: (B, C, H, W), H, W >= 1.
            t: Time features (B, time_dim) or (1, time_dim).
            context: What the attention may look at besides.

        Returns:
            (B, C', H, W).
        """
        height, width = x.shape[-2:]
        first = self.init_conv(channels_last(pad_to_multiple(x, self.traits.size_multiple)))
        x, skips = first, []
        for block1, block2, attention, down in self.downs:
            x = block1(x, t)
            skips.append(x)
            x = attention(block2(x, t), context)
            skips.append(x)
            x = down(x)
        x = self.mid_block2(self.mid_attn(self.mid_block1(x, t), context), t)
        for block1, block2, attention, up in self.ups:
            x = block1(torch.cat([x, skips.pop()], 1), t)
            x = block2(torch.cat([x, skips.pop()], 1), t)
            x = up(attention(x, context))
        x = self.final_res_block(torch.cat([x, first], 1), t)
        return self.final_conv(x)[..., :height, :width]


def level_widths(state: State, prefix: str = "") -> list[int]:
    """Channels of the first features and after each level, from the keys of a `TimeUNet` below a prefix.

    Raises:
        KeyError: The keys are another network's.
    """
    levels = range(count(state, f"{prefix}downs."))
    return [len(state[f"{prefix}init_conv.weight"]), *(len(state[f"{prefix}downs.{i}.3.weight"]) for i in levels)]


def upsample(coarse: int, fine: int) -> nn.Sequential:
    """From (B, coarse, H, W) to (B, fine, 2 H, 2 W)."""
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(coarse, fine, 3, padding=1))
