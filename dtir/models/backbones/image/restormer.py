"""Restormer (Zamir et al., "Restormer: Efficient Transformer for High-Resolution Image Restoration", CVPR 2022).

State-dict keys are the published ones. The blocks also build PromptIR and X-Restormer.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.core.errors import ConfigError
from dtir.models.backbones.parts.layers import PointwiseConv2d, channels_last, pad_to_multiple
from dtir.models.backbones.parts.reading import State, count, factor
from dtir.models.backbones.traits import Published, Traits
from dtir.registry import BACKBONES

NORMS = ("WithBias", "BiasFree")
NORM_EPS = 1e-5
LEVELS = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")
# Of a channel without any signal, as in `torch.nn.functional.normalize`.
LEAST_LENGTH = 1e-12


class LayerNorm(nn.Module):
    """Layer normalisation over the channels at every pixel, with its parameters under `body`.

    Args:
        dim: Channels.
        LayerNorm_type: "WithBias", or "BiasFree", which divides by the deviation and subtracts nothing.

    Raises:
        ConfigError: Another type.
    """

    def __init__(self, dim: int, LayerNorm_type: str) -> None:
        super().__init__()
        if LayerNorm_type not in NORMS:
            raise ConfigError(f"LayerNorm_type={LayerNorm_type!r} is not known; use one of {', '.join(NORMS)}.")
        self.body = nn.ParameterDict({"weight": nn.Parameter(torch.ones(dim))})
        if LayerNorm_type == "WithBias":
            self.body["bias"] = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape, channels last in memory."""
        y = x.permute(0, 2, 3, 1)
        weight = self.body["weight"]
        if "bias" in self.body:
            y = F.layer_norm(y, weight.shape, weight, self.body["bias"], NORM_EPS)
        else:
            y = y * (y.var(-1, keepdim=True, correction=0) + NORM_EPS).rsqrt() * weight
        return y.permute(0, 3, 1, 2)


class FeedForward(nn.Module):
    """Gated feed-forward part with a depthwise convolution (GDFN, section 3.2).

    Args:
        dim: Channels.
        ffn_expansion_factor: Hidden channels over `dim`.
        bias: Whether the convolutions have one.
    """

    def __init__(self, dim: int, ffn_expansion_factor: float, bias: bool) -> None:
        super().__init__()
        hidden = int(dim * ffn_expansion_factor)
        self.project_in = PointwiseConv2d(dim, 2 * hidden, bias=bias)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=bias)
        self.project_out = PointwiseConv2d(hidden, dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        gate, value = self.dwconv(self.project_in(x)).chunk(2, dim=1)
        return self.project_out(F.gelu(gate) * value)


class Attention(nn.Module):
    """Attention between channels (MDTA, section 3.1): its map has the size of the channels, not of the pixels.

    The lengths of queries and keys divide the small map and not the pictures, and the output projection is multiplied
    with the map first, so that the values are read once.

    Args:
        dim: Channels.
        num_heads: Groups of channels.
        bias: Whether the convolutions have one.
    """

    def __init__(self, dim: int, num_heads: int, bias: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1))
        self.qkv = PointwiseConv2d(dim, 3 * dim, bias=bias)
        self.qkv_dwconv = nn.Conv2d(3 * dim, 3 * dim, 3, padding=1, groups=3 * dim, bias=bias)
        self.project_out = PointwiseConv2d(dim, dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        batch, dim, height, width = x.shape
        tokens = self.qkv_dwconv(self.qkv(x)).permute(0, 2, 3, 1).reshape(batch, height * width, 3 * dim)
        q, k, v = tokens.chunk(3, dim=-1)
        heads = (self.num_heads, dim // self.num_heads)
        q_heads, k_heads = (part.unflatten(-1, heads).permute(0, 2, 3, 1) for part in (q, k))
        similarity = q_heads @ k_heads.transpose(-2, -1)
        attention = (similarity * self._scale(q, k, heads)).softmax(-1)
        # (C, heads, c) x (B, heads, c, c): the projection of what the map mixes, (B, C, C).
        weight = self.project_out.weight.reshape(dim, *heads).transpose(0, 1)
        mixed = (weight @ attention).transpose(1, 2).reshape(batch, dim, dim)
        out = v @ mixed.transpose(1, 2)
        if self.project_out.bias is not None:
            out = out + self.project_out.bias
        return out.view(batch, height, width, dim).permute(0, 3, 1, 2)

    def _scale(self, q: Tensor, k: Tensor, heads: tuple[int, int]) -> Tensor:
        """(B, heads, c, c): temperature over the lengths of queries and keys (B, N, C)."""
        q_length, k_length = (
            torch.linalg.vector_norm(part, dim=1).clamp_min(LEAST_LENGTH).unflatten(-1, heads) for part in (q, k)
        )
        return self.temperature / (q_length[..., None] * k_length[..., None, :])


class TransformerBlock(nn.Module):
    """Channel attention and gated feed-forward part, each on normalised features and added to them.

    Args:
        dim: Channels.
        num_heads: Groups of channels in the attention.
        ffn_expansion_factor: Hidden channels of the feed-forward part over `dim`.
        bias: Whether the convolutions have one.
        LayerNorm_type: "WithBias" or "BiasFree".
    """

    def __init__(self, dim: int, num_heads: int, ffn_expansion_factor: float, bias: bool, LayerNorm_type: str) -> None:
        super().__init__()
        self.norm1 = LayerNorm(dim, LayerNorm_type)
        self.attn = Attention(dim, num_heads, bias)
        self.norm2 = LayerNorm(dim, LayerNorm_type)
        self.ffn = FeedForward(dim, ffn_expansion_factor, bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class OverlapPatchEmbed(nn.Module):
    """A 3x3 convolution from the picture to features.

    Args:
        in_c: Channels of the picture.
        embed_dim: Channels of the features.
        bias: Whether there is one.
    """

    def __init__(self, in_c: int = 3, embed_dim: int = 48, bias: bool = False) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_c, embed_dim, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_c, H, W) to (B, embed_dim, H, W)."""
        return self.proj(x)


class Downsample(nn.Module):
    """Half the height and width, twice the channels.

    Args:
        n_feat: Channels of the input.
    """

    def __init__(self, n_feat: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(n_feat, n_feat // 2, 3, padding=1, bias=False), nn.PixelUnshuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 2C, H / 2, W / 2)."""
        return channels_last(self.body(x))


class Upsample(nn.Module):
    """Twice the height and width, half the channels.

    Args:
        n_feat: Channels of the input.
    """

    def __init__(self, n_feat: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(n_feat, n_feat * 2, 3, padding=1, bias=False), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C / 2, 2H, 2W)."""
        return channels_last(self.body(x))


class RestormerUNet(nn.Module):
    """The four-level U-Net with a global skip that Restormer and X-Restormer fill with their blocks.

    Args:
        block: Makes a block from its level (0 to 3) and its channels.
        inp_channels: Channels of the picture.
        out_channels: Channels of the output.
        dim: Channels of the first level; they double at every level down.
        num_blocks: Blocks of the four levels.
        num_refinement_blocks: Blocks after the last level.
        bias: Whether the 1x1 convolutions and the last one have one.
    """

    traits: ClassVar[Traits] = Traits(size_multiple=8)

    def __init__(
        self,
        block: Callable[[int, int], nn.Module],
        inp_channels: int,
        out_channels: int,
        dim: int,
        num_blocks: Sequence[int],
        num_refinement_blocks: int,
        bias: bool,
    ) -> None:
        super().__init__()

        def blocks(level: int, width: int, number: int) -> nn.Sequential:
            return nn.Sequential(*[block(level, width) for _ in range(number)])

        self.patch_embed = OverlapPatchEmbed(inp_channels, dim)
        self.encoder_level1 = blocks(0, dim, num_blocks[0])
        self.down1_2 = Downsample(dim)
        self.encoder_level2 = blocks(1, 2 * dim, num_blocks[1])
        self.down2_3 = Downsample(2 * dim)
        self.encoder_level3 = blocks(2, 4 * dim, num_blocks[2])
        self.down3_4 = Downsample(4 * dim)
        self.latent = blocks(3, 8 * dim, num_blocks[3])
        self.up4_3 = Upsample(8 * dim)
        self.reduce_chan_level3 = PointwiseConv2d(8 * dim, 4 * dim, bias=bias)
        self.decoder_level3 = blocks(2, 4 * dim, num_blocks[2])
        self.up3_2 = Upsample(4 * dim)
        self.reduce_chan_level2 = PointwiseConv2d(4 * dim, 2 * dim, bias=bias)
        self.decoder_level2 = blocks(1, 2 * dim, num_blocks[1])
        self.up2_1 = Upsample(2 * dim)
        self.decoder_level1 = blocks(0, 2 * dim, num_blocks[0])
        self.refinement = blocks(0, 2 * dim, num_refinement_blocks)
        self.output = nn.Conv2d(2 * dim, out_channels, 3, padding=1, bias=bias)

    def ordered_blocks(self) -> list[str]:
        """Names of the transformer blocks, shallow to deep."""
        levels = [*LEVELS, "decoder_level3", "decoder_level2", "decoder_level1", "refinement"]
        return [f"{level}.{k}" for level in levels for k in range(len(getattr(self, level)))]

    def forward(self, inp_img: Tensor) -> Tensor:
        """(B, inp_channels, H, W) in [0, 1], H, W >= 1, to (B, out_channels, H, W); the values are not clipped."""
        height, width = inp_img.shape[-2:]
        picture = channels_last(pad_to_multiple(inp_img, self.traits.size_multiple))
        return self.restore_padded(picture)[..., :height, :width]

    def restore_padded(self, picture: Tensor) -> Tensor:
        """The restored picture, for one whose height and width are multiples of what the levels need."""
        embedded = self.patch_embed(picture)
        level1 = self.encoder_level1(embedded)
        level2 = self.encoder_level2(self.down1_2(level1))
        level3 = self.encoder_level3(self.down2_3(level2))
        x = self.latent(self.down3_4(level3))
        x = self.decoder_level3(self.reduce_chan_level3(torch.cat([self.up4_3(x), level3], 1)))
        x = self.decoder_level2(self.reduce_chan_level2(torch.cat([self.up3_2(x), level2], 1)))
        x = self.refinement(self.decoder_level1(torch.cat([self.up2_1(x), level1], 1)))
        return self.finish(x, embedded, picture)

    def finish(self, x: Tensor, embedded: Tensor, picture: Tensor) -> Tensor:
        """Features (B, 2 dim, H, W) to the output, with the global skip."""
        return self.output(x) + picture


@BACKBONES.register_module()
class Restormer(RestormerUNet):
    """Restormer: a four-level U-Net of blocks `TransformerBlock` with a global skip.

    Args:
        inp_channels: Channels of the picture; 6 for a dual-pixel pair.
        out_channels: Channels of the output.
        dim: Channels of the first level; they double at every level down.
        num_blocks: Blocks of the four levels.
        num_refinement_blocks: Blocks after the last level.
        heads: Attention heads of the four levels.
        ffn_expansion_factor: Hidden channels of the feed-forward parts over their channels.
        bias: Whether the convolutions have one.
        LayerNorm_type: "WithBias" or "BiasFree".
        dual_pixel_task: Defocus deblurring of dual-pixel pairs: the skip is one of features, not of the picture.

    Raises:
        ConfigError: `num_blocks` or `heads` does not have four entries, or the norm is unknown.
    """

    traits: ClassVar[Traits] = Traits(size_multiple=8, licence="Academic Public License (non-commercial)")
    PUBLISHED: ClassVar[Mapping[str, Published]] = {
        "restormer": Published({}, 26.127),
        "restormer_denoising": Published({"LayerNorm_type": "BiasFree"}, 26.112),
        "restormer_dual_pixel": Published({"inp_channels": 6, "dual_pixel_task": True}, 26.133, channels=6),
    }

    def __init__(
        self,
        inp_channels: int = 3,
        out_channels: int = 3,
        dim: int = 48,
        num_blocks: Sequence[int] = (4, 6, 6, 8),
        num_refinement_blocks: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        ffn_expansion_factor: float = 2.66,
        bias: bool = False,
        LayerNorm_type: str = "WithBias",
        dual_pixel_task: bool = False,
    ) -> None:
        check_levels("Restormer", num_blocks=num_blocks, heads=heads)
        super().__init__(
            lambda level, width: TransformerBlock(width, heads[level], ffn_expansion_factor, bias, LayerNorm_type),
            inp_channels,
            out_channels,
            dim,
            num_blocks,
            num_refinement_blocks,
            bias,
        )
        self.dual_pixel_task = dual_pixel_task
        if dual_pixel_task:
            self.skip_conv = PointwiseConv2d(dim, 2 * dim, bias=bias)

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes.

        Raises:
            KeyError: The keys are another network's.
        """
        return {
            **unet_settings(state),
            "heads": [len(state[f"{level}.0.attn.temperature"]) for level in LEVELS],
            "ffn_expansion_factor": factor(ffn_widths(state, "ffn")),
            "dual_pixel_task": "skip_conv.weight" in state,
        }

    def finish(self, x: Tensor, embedded: Tensor, picture: Tensor) -> Tensor:
        """Features (B, 2 dim, H, W) to the output, with the skip of the picture or of its features."""
        if self.dual_pixel_task:
            return self.output(x + self.skip_conv(embedded))
        return super().finish(x, embedded, picture)


def unet_settings(state: State) -> dict:
    """The arguments that Restormer, X-Restormer and PromptIR share, from keys and shapes.

    Raises:
        KeyError: The keys are another network's.
    """
    return {
        "inp_channels": state["patch_embed.proj.weight"].shape[1],
        "out_channels": len(state["output.weight"]),
        "dim": len(state["patch_embed.proj.weight"]),
        "num_blocks": [count(state, f"{level}.") for level in LEVELS],
        "num_refinement_blocks": count(state, "refinement."),
        "bias": "output.bias" in state,
        "LayerNorm_type": NORMS["latent.0.norm1.body.bias" not in state],
    }


def ffn_widths(state: State, part: str) -> list[tuple[int, int]]:
    """Channels and hidden channels of a feed-forward part at each of the four levels."""
    weights = [state[f"{level}.0.{part}.project_out.weight"] for level in LEVELS]
    return [(weight.shape[0], weight.shape[1]) for weight in weights]


def check_levels(network: str, **lists: Sequence[int]) -> None:
    """Checks that each list has one entry for each of four levels.

    Raises:
        ConfigError: One has not.
    """
    for name, values in lists.items():
        if len(values) != 4:
            raise ConfigError(f"{network}: {name}={list(values)} must have 4 entries, one per level.")
