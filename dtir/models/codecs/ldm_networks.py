"""Encoder and decoder of latent diffusion's autoencoders (Rombach et al., CVPR 2022; after Esser et al., "Taming
Transformers for High-Resolution Image Synthesis", CVPR 2021), with the published constructor arguments and state-dict
keys."""

import itertools
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.core.errors import ConfigError
from dtir.models.backbones.parts.adm_blocks import GROUPS, per_level

ATTENTION = ("vanilla", "none")


def norm(channels: int) -> nn.GroupNorm:
    """Group normalisation in 32 groups, with the published 1e-6."""
    return nn.GroupNorm(GROUPS, channels, eps=1e-6)


class ResnetBlock(nn.Module):
    """Two normalised convolutions with a skip.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        dropout: Probability of a zero in training.
    """

    def __init__(self, in_channels: int, out_channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1 = norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = norm(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        y = self.conv1(F.silu(self.norm1(x)))
        return self.nin_shortcut(x) + self.conv2(self.dropout(F.silu(self.norm2(y))))


class AttnBlock(nn.Module):
    """Attention of one head between all pixels, with a skip.

    Args:
        channels: Channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        y = self.norm(x)
        q, k, v = (layer(y).flatten(2).transpose(1, 2) for layer in (self.q, self.k, self.v))
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return x + self.proj_out(out.reshape(x.shape))


class Downsample(nn.Module):
    """Halves height and width.

    Args:
        channels: Channels.
        with_conv: Whether a convolution does it, of the pixel and what is below and to its right, or a mean.
    """

    def __init__(self, channels: int, with_conv: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 2) if with_conv else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W), H and W even, to (B, channels, H / 2, W / 2)."""
        return F.avg_pool2d(x, 2) if self.conv is None else self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles height and width.

    Args:
        channels: Channels.
        with_conv: Whether a convolution follows.
    """

    def __init__(self, channels: int, with_conv: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1) if with_conv else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, channels, 2 H, 2 W)."""
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class Middle(nn.Module):
    """Two residual blocks around an attention.

    Args:
        channels: Channels.
        dropout: Probability of a zero in training.
        attn_type: "vanilla", or "none" for no attention.
    """

    def __init__(self, channels: int, dropout: float, attn_type: str) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels, dropout)
        self.attn_1 = _attention(channels, attn_type)
        self.block_2 = ResnetBlock(channels, channels, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        return self.block_2(self.attn_1(self.block_1(x)))


class Level(nn.Module):
    """Residual blocks, each with or without an attention after it, and what changes height and width at the end.

    Args:
        widths: Channels: of the input, then after each block.
        attends: Whether each block is followed by an attention.
        dropout: Probability of a zero in training.
        attn_type: As of `Middle`.
        downsample: Halves height and width, of an encoder's level.
        upsample: Doubles them, of a decoder's level.
    """

    def __init__(
        self,
        widths: Sequence[int],
        attends: bool,
        dropout: float,
        attn_type: str,
        downsample: Downsample | None = None,
        upsample: Upsample | None = None,
    ) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(widths))
        self.block = nn.ModuleList(ResnetBlock(fine, coarse, dropout) for fine, coarse in pairs)
        self.attn = nn.ModuleList(_attention(width, attn_type) for _, width in pairs if attends)
        self.downsample, self.upsample = downsample, upsample

    def blocks(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H, W): the level without its end."""
        for number, block in enumerate(self.block):
            x = block(x)
            if self.attn:
                x = self.attn[number](x)
        return x


class Encoder(nn.Module):
    """From pictures to what a latent picture is made of.

    Args:
        ch: Channels of the first features.
        out_ch: Without effect: of the decoder, which is made from the same arguments.
        ch_mult: Channels of each level over `ch`.
        num_res_blocks: Residual blocks of a level, one number, or one for each level.
        attn_resolutions: Sides at which levels attend, of pictures with sides of `resolution`.
        dropout: Probability of a zero in training.
        resamp_with_conv: Whether convolutions change height and width.
        in_channels: Channels of the pictures.
        resolution: Side of the pictures in training.
        z_channels: Channels of the output.
        double_z: Whether there are twice as many: means and logarithms of variances.
        use_linear_attn: False.
        attn_type: "vanilla", or "none" for a middle without attention.
        padding_mode: "zeros", what convolutions see beyond the border.

    Raises:
        ConfigError: An option is not one of those named, or there are not as many numbers of blocks as levels.
    """

    def __init__(
        self,
        *,
        ch: int = 128,
        out_ch: int = 3,
        ch_mult: Sequence[int] = (1, 2, 4, 8),
        num_res_blocks: int | Sequence[int] = 2,
        attn_resolutions: Collection[int] = (),
        dropout: float = 0.0,
        resamp_with_conv: bool = True,
        in_channels: int = 3,
        resolution: int = 256,
        z_channels: int = 4,
        double_z: bool = True,
        use_linear_attn: bool = False,
        attn_type: str = "vanilla",
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__()
        _check(attn_type, padding_mode, use_linear_attn)
        counts = per_level("ddconfig", "num_res_blocks", num_res_blocks, len(ch_mult))
        self.conv_in = nn.Conv2d(in_channels, ch, 3, padding=1)
        self.down = nn.ModuleList()
        width, last = ch, len(ch_mult) - 1
        for number, factor in enumerate(ch_mult):
            widths = [width, *[ch * factor] * counts[number]]
            width = widths[-1]
            attends = resolution // 2**number in attn_resolutions
            down = Downsample(width, resamp_with_conv) if number < last else None
            self.down.append(Level(widths, attends, dropout, attn_type, downsample=down))
        self.mid = Middle(width, dropout, attn_type)
        self.norm_out = norm(width)
        self.conv_out = nn.Conv2d(width, (1 + double_z) * z_channels, 3, padding=1)

    def forward(self, x: Tensor, return_fea: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        """What a latent picture is made of.

        Args:
            x: Pictures (B, in_channels, H, W), usually centred, H and W multiples of f = 2^(levels - 1).
            return_fea: Whether features are wanted too, for `Decoder_Mix`.

        Returns:
            (B, z_channels or twice as many, H / f, W / f); or that and the features (B, C, H', W') of the levels that
            are wrapped, finest first: the second and the third, and of more than four levels all but the first and the
            last.
        """
        x, features = self.conv_in(x), []
        for level in self.down:
            x = level.blocks(x)
            features.append(x)
            if level.downsample is not None:
                x = level.downsample(x)
        x = self.conv_out(F.silu(self.norm_out(self.mid(x))))
        return (x, features[1 : max(3, len(features) - 1)]) if return_fea else x


class Decoder(nn.Module):
    """From latent pictures to pictures.

    Args:
        ch: Channels of the last features.
        out_ch: Channels of the pictures.
        ch_mult: Channels of each level over `ch`, finest first.
        num_res_blocks: Residual blocks of a level, but for one more; one number, or one for each level.
        attn_resolutions: As of `Encoder`.
        dropout: Probability of a zero in training.
        resamp_with_conv: Whether a convolution follows where height and width are doubled.
        in_channels: Without effect: of the encoder.
        resolution: Side of the pictures in training.
        z_channels: Channels of the latent pictures.
        double_z: Without effect: of the encoder.
        give_pre_end: Whether the features before the last norm are the output.
        tanh_out: Whether the output is bounded to [-1, 1] by tanh.
        use_linear_attn: As of `Encoder`.
        attn_type: As of `Encoder`.
        padding_mode: As of `Encoder`.

    Raises:
        ConfigError: As `Encoder`.
    """

    def __init__(
        self,
        *,
        ch: int = 128,
        out_ch: int = 3,
        ch_mult: Sequence[int] = (1, 2, 4, 8),
        num_res_blocks: int | Sequence[int] = 2,
        attn_resolutions: Collection[int] = (),
        dropout: float = 0.0,
        resamp_with_conv: bool = True,
        in_channels: int = 3,
        resolution: int = 256,
        z_channels: int = 4,
        double_z: bool = True,
        give_pre_end: bool = False,
        tanh_out: bool = False,
        use_linear_attn: bool = False,
        attn_type: str = "vanilla",
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__()
        _check(attn_type, padding_mode, use_linear_attn)
        counts = per_level("ddconfig", "num_res_blocks", num_res_blocks, len(ch_mult))
        self.give_pre_end, self.tanh_out = give_pre_end, tanh_out
        width, levels = ch * ch_mult[-1], []
        self.conv_in = nn.Conv2d(z_channels, width, 3, padding=1)
        self.mid = Middle(width, dropout, attn_type)
        # A side that is odd on the way down is doubled from what it came down to.
        side = resolution // 2 ** (len(ch_mult) - 1)
        for number in reversed(range(len(ch_mult))):
            widths = [width, *[ch * ch_mult[number]] * (counts[number] + 1)]
            width = widths[-1]
            up = Upsample(width, resamp_with_conv) if number > 0 else None
            levels.insert(0, Level(widths, side in attn_resolutions, dropout, attn_type, upsample=up))
            side *= 2
        self.up = nn.ModuleList(levels)
        self.norm_out = norm(width)
        self.conv_out = nn.Conv2d(width, out_ch, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Latent pictures (B, z_channels, h, w) to pictures (B, out_ch, f h, f w), f = 2^(levels - 1)."""
        return self.run(z)

    def run(self, z: Tensor, adapt: Callable[[int, Tensor], Tensor] | None = None) -> Tensor:
        """As `forward`; `adapt` changes the features (B, C, H, W) of a level, given its number, 0 for the finest."""
        x = self.mid(self.conv_in(z))
        for number in reversed(range(len(self.up))):
            x = self.up[number].blocks(x)
            x = x if adapt is None else adapt(number, x)
            if number > 0:
                x = self.up[number].upsample(x)
        if self.give_pre_end:
            return x
        x = self.conv_out(F.silu(self.norm_out(x)))
        return torch.tanh(x) if self.tanh_out else x


def _attention(channels: int, attn_type: str) -> nn.Module:
    return AttnBlock(channels) if attn_type == "vanilla" else nn.Identity()


def _check(attn_type: str, padding_mode: str, use_linear_attn: bool) -> None:
    if use_linear_attn:
        raise ConfigError("ddconfig.use_linear_attn=True is not offered; use False.")
    if attn_type not in ATTENTION:
        raise ConfigError(f"ddconfig.attn_type='{attn_type}'; expected one of {', '.join(ATTENTION)}.")
    if padding_mode != "zeros":
        raise ConfigError(f"ddconfig.padding_mode='{padding_mode}' is not offered; use 'zeros'.")
