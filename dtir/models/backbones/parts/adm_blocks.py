"""The blocks of the U-Net of "Diffusion Models Beat GANs on Image Synthesis" (Dhariwal and Nichol, NeurIPS 2021), of
which latent diffusion, ResShift and StableSR build theirs, with the published state-dict keys."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.core.errors import ConfigError

from .layers import PointwiseConv2d

GROUPS = 32


def timestep_embedding(timesteps: Tensor, dim: int) -> Tensor:
    """Cosines and sines (B, dim) of time steps (B,) in float32; an odd `dim` ends with a zero."""
    half = dim // 2
    index = torch.arange(half, device=timesteps.device, dtype=torch.float32)
    phase = timesteps.float()[:, None] * torch.exp(index * (-math.log(10000.0) / half))
    return F.pad(torch.cat([phase.cos(), phase.sin()], dim=-1), (0, dim % 2))


def time_mlp(dim: int) -> nn.Sequential:
    """From embeddings (B, dim) of time steps to time features (B, 4 dim)."""
    return nn.Sequential(nn.Linear(dim, 4 * dim), nn.SiLU(), nn.Linear(4 * dim, 4 * dim))


def zeroed(layer: nn.Module) -> nn.Module:
    """The layer, with all parameters 0: a branch that starts without effect."""
    for p in layer.parameters():
        nn.init.zeros_(p)
    return layer


class Resample(nn.Module):
    """Halves or doubles height and width.

    Args:
        channels: Channels.
        out_channels: Channels of the output; those of the input without a convolution.
        up: Whether it doubles them.
        use_conv: Whether a convolution does it, or follows.
    """

    def __init__(self, channels: int, out_channels: int, up: bool, use_conv: bool = True) -> None:
        super().__init__()
        self.up, self.name = up, "conv" if up else "op"
        if use_conv:
            self.add_module(self.name, nn.Conv2d(channels, out_channels, 3, 1 if up else 2, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, out_channels, 2 H, 2 W) or (B, out_channels, H / 2, W / 2)."""
        conv = getattr(self, self.name, None)
        if self.up:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        elif conv is None:
            x = F.avg_pool2d(x, 2)
        return x if conv is None else conv(x)


class ResBlock(nn.Module):
    """Two normalised convolutions with a skip, the second shifted, and scaled, by the time.

    Args:
        channels: Channels of the input.
        emb_channels: Length of the time features.
        dropout: Probability of a zero in training.
        out_channels: Channels of the output. Those that are no multiple of 32 are normalised each by itself at the
            end, as published.
        use_scale_shift_norm: Whether the time also scales.
        resample: "up" or "down" to change height and width by 2, None to keep them.
    """

    def __init__(
        self,
        channels: int,
        emb_channels: int,
        dropout: float,
        out_channels: int,
        use_scale_shift_norm: bool,
        resample: str | None = None,
    ) -> None:
        super().__init__()
        self.scales = use_scale_shift_norm
        conv = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.in_layers = nn.Sequential(nn.GroupNorm(GROUPS, channels), nn.SiLU(), conv)
        self.resample = Resample(channels, channels, resample == "up", use_conv=False) if resample else nn.Identity()
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb_channels, (1 + self.scales) * out_channels))
        norm = nn.GroupNorm(out_channels if out_channels % GROUPS else GROUPS, out_channels)
        last = zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.out_layers = nn.Sequential(norm, nn.SiLU(), nn.Dropout(dropout), last)
        self.skip_connection = PointwiseConv2d(channels, out_channels) if channels != out_channels else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """(B, channels, H, W) and time features (B, emb_channels) to (B, out_channels, H', W')."""
        return self.skip_connection(self.resample(x)) + self.branch(x, emb)

    def branch(self, x: Tensor, emb: Tensor) -> Tensor:
        """What is added to the skip, (B, out_channels, H', W')."""
        norm, activation, conv = self.in_layers
        y = conv(self.resample(activation(norm(x))))
        change = self.emb_layers(emb)[..., None, None]
        if not self.scales:
            return self.out_layers(y + change)
        norm, *rest = self.out_layers
        scale, shift = change.chunk(2, dim=1)
        y = torch.addcmul(shift, norm(y), scale + 1)
        for layer in rest:
            y = layer(y)
        return y


class TimestepSequential(nn.Sequential):
    """Layers one after the other; residual blocks get the time."""

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """(B, C, H, W) and time features (B, emb_channels) to (B, C', H', W')."""
        for layer in self:
            x = layer(x, emb) if isinstance(layer, ResBlock) else layer(x)
        return x


class AttentionBlock(nn.Module):
    """Attention between all pixels, with a skip.

    Args:
        channels: Channels.
        num_heads: Heads.
        use_new_attention_order: Whether queries, keys and values are told apart before the heads, and not after.
    """

    def __init__(self, channels: int, num_heads: int, use_new_attention_order: bool = False) -> None:
        super().__init__()
        self.num_heads, self.heads_last = num_heads, use_new_attention_order
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zeroed(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        qkv = self.qkv(self.norm(x).flatten(2))
        if self.heads_last:
            q, k, v = qkv.unflatten(1, (3, self.num_heads, -1)).unbind(1)
        else:
            q, k, v = qkv.unflatten(1, (self.num_heads, 3, -1)).unbind(2)
        q, k, v = (part.transpose(-1, -2) for part in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).flatten(1, 2)
        return x + self.proj_out(out).view_as(x)


def refuse_options(network: str, **options: tuple[object, object]) -> None:
    """Refuses options that differ from the one value that is offered: name = (value, offered).

    Raises:
        ConfigError: It names the first of them.
    """
    for name, (value, offered) in options.items():
        if value != offered:
            raise ConfigError(f"{network}: {name}={value} is not offered; use {offered}.")


def per_level(network: str, name: str, value: object, levels: int) -> list:
    """An option's value for each level: those that are given, or the one that is given for all.

    Raises:
        ConfigError: They are not as many as the levels.
    """
    values = list(value) if isinstance(value, Sequence) else [value] * levels
    if len(values) != levels:
        raise ConfigError(f"{network}: {name}={values} must have one entry for each of {levels} levels.")
    return values


def heads_of(network: str, channels: int, num_heads: int, num_head_channels: int) -> int:
    """The heads of an attention over so many channels; `num_head_channels` goes before `num_heads`, unless it is -1.

    Raises:
        ConfigError: Both are -1, or the one that counts does not divide the channels.
    """
    if num_heads == num_head_channels == -1:
        raise ConfigError(f"{network}: set num_heads, or num_head_channels such as 64.")
    name, value = ("num_heads", num_heads) if num_head_channels == -1 else ("num_head_channels", num_head_channels)
    if channels % value:
        raise ConfigError(f"{network}: {name}={value} does not divide the {channels} channels of a level that attends.")
    return num_heads if num_head_channels == -1 else channels // num_head_channels
