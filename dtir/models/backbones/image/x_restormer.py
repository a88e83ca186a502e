"""X-Restormer (Chen et al., "A Comparative Study of Image Restoration Networks for General Backbone Network Design",
ECCV 2024), with the published state-dict keys."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.core.errors import ConfigError
from dtir.models.backbones.parts.layers import PointwiseConv2d, channels_last, pad_to_multiple
from dtir.models.backbones.parts.reading import State, factor, whole
from dtir.models.backbones.traits import Published, Traits
from dtir.registry import BACKBONES

from .restormer import (
    LEVELS,
    Attention,
    FeedForward,
    LayerNorm,
    RestormerUNet,
    check_levels,
    ffn_widths,
    unet_settings,
)

# Of the checkpoints; the class has other defaults.
CHECKPOINTS = {"num_blocks": [2, 4, 4, 4], "spatial_heads": [1, 2, 4, 8]}
# The key window is larger than the window by this share in all published settings; the keys tell the former alone.
OVERLAP = 0.5


class RelPosEmb(nn.Module):
    """Learned vectors for the vertical and horizontal distance of a query to a key of its enlarged window.

    Args:
        block_size: Side of the windows of queries.
        rel_size: Side of the enlarged windows of keys.
        dim_head: Channels of a head.
    """

    def __init__(self, block_size: int, rel_size: int, dim_head: int) -> None:
        super().__init__()
        self.block_size, self.rel_size = block_size, rel_size
        self.rel_height = nn.Parameter(torch.randn(2 * rel_size - 1, dim_head) * dim_head**-0.5)
        self.rel_width = nn.Parameter(torch.randn(2 * rel_size - 1, dim_head) * dim_head**-0.5)

    def forward(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """What a query at row x and column y adds to the logits of all keys in row a, and of all keys in column b.

        Args:
            q: Scaled queries (..., x, y, dim_head).

        Returns:
            q . rel_height[a - x + rel_size - 1] and q . rel_width[b - y + rel_size - 1], (..., x, y, rel_size) each.
        """
        side = torch.arange(self.block_size, device=q.device)
        distance = torch.arange(self.rel_size, device=q.device) - side[:, None] + self.rel_size - 1
        rows = q @ self.rel_height[distance].transpose(1, 2)
        columns = (q.transpose(-3, -2) @ self.rel_width[distance].transpose(1, 2)).transpose(-3, -2)
        return rows, columns


class OCAB(nn.Module):
    """Overlapping cross-attention: each window of queries looks at a larger window of keys around it (section 3.3).

    The position term of a logit is a sum of one number per key row and one per key column. Both are appended to the
    query, and the key gets ones where its row and column stand, so that one fused attention does everything and no map
    of logits is kept.

    Args:
        dim: Channels.
        window_size: Side of the windows of queries.
        overlap_ratio: By how much of `window_size` the windows of keys are larger.
        num_heads: Heads.
        dim_head: Channels of a head.
        bias: Whether the convolutions have one.
    """

    def __init__(
        self, dim: int, window_size: int, overlap_ratio: float, num_heads: int, dim_head: int, bias: bool
    ) -> None:
        super().__init__()
        self.num_heads, self.dim_head, self.window = num_heads, dim_head, window_size
        self.key_window = int(window_size * overlap_ratio) + window_size
        inner = num_heads * dim_head
        self.qkv = PointwiseConv2d(dim, 3 * inner, bias=bias)
        self.project_out = PointwiseConv2d(inner, dim, bias=bias)
        self.rel_pos_emb = RelPosEmb(window_size, self.key_window, dim_head)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), sides multiples of the window, to the same shape."""
        height, width = x.shape[-2:]
        q, k, v = self.qkv(x).permute(0, 2, 3, 1).unflatten(-1, (3, self.num_heads, self.dim_head)).unbind(3)
        out = F.scaled_dot_product_attention(self._queries(q), self._keys(k), self._windows(v), scale=1.0)
        out = out.unflatten(2, (self.window, self.window)).unflatten(0, (x.shape[0], height // self.window, -1))
        # (B, rows, columns, heads, y, x, c) to pixels.
        out = out.permute(0, 1, 4, 2, 5, 3, 6).reshape(x.shape[0], height, width, -1)
        return self.project_out(out.permute(0, 3, 1, 2))

    def _queries(self, q: Tensor) -> Tensor:
        """(B, H, W, heads, c) to (B * windows, heads, window^2, c + 2 key windows): queries and position terms."""
        side = self.window
        q = q.unflatten(1, (-1, side)).unflatten(3, (-1, side)).permute(0, 1, 3, 5, 2, 4, 6) * self.dim_head**-0.5
        q = q.flatten(0, 2)
        return torch.cat([q, *self.rel_pos_emb(q)], -1).flatten(2, 3)

    def _keys(self, k: Tensor) -> Tensor:
        """(B, H, W, heads, c) to (B * windows, heads, key window^2, c + 2 key windows): keys, row and column."""
        k = self._windows(k)
        one_hot = torch.eye(self.key_window, dtype=k.dtype, device=k.device)
        place = torch.cat([one_hot.repeat_interleave(self.key_window, 0), one_hot.repeat(self.key_window, 1)], -1)
        return torch.cat([k, place.expand(*k.shape[:2], -1, -1)], -1)

    def _windows(self, x: Tensor) -> Tensor:
        """(B, H, W, heads, c) to all enlarged windows (B * windows, heads, key window^2, c), zero outside."""
        around = (self.key_window - self.window) // 2
        x = F.pad(x, (0, 0, 0, 0, around, around, around, around))
        x = x.unfold(1, self.key_window, self.window).unfold(2, self.key_window, self.window)
        # (B, rows, columns, heads, c, y, x).
        return x.permute(0, 1, 2, 3, 5, 6, 4).flatten(4, 5).flatten(0, 2)


class TransformerBlock(nn.Module):
    """Channel attention and spatial attention, each followed by a feed-forward part.

    Args:
        dim: Channels.
        window_size: Side of the windows of queries.
        overlap_ratio: By how much of `window_size` the windows of keys are larger.
        num_channel_heads: Heads of the channel attention.
        num_spatial_heads: Heads of the spatial attention.
        spatial_dim_head: Channels of a head of the spatial attention.
        ffn_expansion_factor: Hidden channels of the feed-forward parts over `dim`.
        bias: Whether the convolutions have one.
        LayerNorm_type: "WithBias" or "BiasFree".
    """

    def __init__(
        self,
        dim: int,
        window_size: int,
        overlap_ratio: float,
        num_channel_heads: int,
        num_spatial_heads: int,
        spatial_dim_head: int,
        ffn_expansion_factor: float,
        bias: bool,
        LayerNorm_type: str,
    ) -> None:
        super().__init__()
        self.spatial_attn = OCAB(dim, window_size, overlap_ratio, num_spatial_heads, spatial_dim_head, bias)
        self.channel_attn = Attention(dim, num_channel_heads, bias)
        self.norm1 = LayerNorm(dim, LayerNorm_type)
        self.norm2 = LayerNorm(dim, LayerNorm_type)
        self.norm3 = LayerNorm(dim, LayerNorm_type)
        self.norm4 = LayerNorm(dim, LayerNorm_type)
        self.channel_ffn = FeedForward(dim, ffn_expansion_factor, bias)
        self.spatial_ffn = FeedForward(dim, ffn_expansion_factor, bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        x = x + self.channel_attn(self.norm1(x))
        x = x + self.channel_ffn(self.norm2(x))
        x = x + self.spatial_attn(self.norm3(x))
        return x + self.spatial_ffn(self.norm4(x))


@BACKBONES.register_module()
class XRestormer(RestormerUNet):
    """X-Restormer: Restormer's U-Net with spatial attention in overlapping windows beside the channel attention.

    Args:
        inp_channels: Channels of the picture.
        out_channels: Channels of the output.
        dim: Channels of the first level; they double at every level down.
        num_blocks: Blocks of the four levels; the published checkpoints have [2, 4, 4, 4].
        num_refinement_blocks: Blocks after the last level.
        channel_heads: Heads of the channel attention at the four levels.
        spatial_heads: Heads of the spatial attention at the four levels; the checkpoints have [1, 2, 4, 8].
        overlap_ratio: By how much the windows of keys are larger than those of queries, at the four levels.
        window_size: Side of the windows of queries.
        spatial_dim_head: Channels of a head of the spatial attention.
        bias: Whether the convolutions have one.
        ffn_expansion_factor: Hidden channels of the feed-forward parts over their channels.
        LayerNorm_type: "WithBias" or "BiasFree".
        dual_pixel_task: Without effect, as in the published code.
        scale: The picture is enlarged so many times (bilinear) before it is restored.

    Raises:
        ConfigError: One of the lists does not have four entries, or the norm is unknown.
    """

    traits: ClassVar[Traits] = Traits(size_multiple=64)
    PUBLISHED: ClassVar[Mapping[str, Published]] = {
        "x_restormer": Published(CHECKPOINTS, 26.04),
        "x_restormer_sr4": Published({**CHECKPOINTS, "scale": 4}, 26.04),
    }

    def __init__(
        self,
        inp_channels: int = 3,
        out_channels: int = 3,
        dim: int = 48,
        num_blocks: Sequence[int] = (4, 6, 6, 8),
        num_refinement_blocks: int = 4,
        channel_heads: Sequence[int] = (1, 2, 4, 8),
        spatial_heads: Sequence[int] = (2, 2, 3, 4),
        overlap_ratio: Sequence[float] = (0.5, 0.5, 0.5, 0.5),
        window_size: int = 8,
        spatial_dim_head: int = 16,
        bias: bool = False,
        ffn_expansion_factor: float = 2.66,
        LayerNorm_type: str = "WithBias",
        dual_pixel_task: bool = False,
        scale: int = 1,
    ) -> None:
        lists = {"num_blocks": num_blocks, "channel_heads": channel_heads, "spatial_heads": spatial_heads}
        check_levels("XRestormer", **lists, overlap_ratio=overlap_ratio)
        if any(int(window_size * ratio) % 2 for ratio in overlap_ratio):
            raise ConfigError(
                f"XRestormer: overlap_ratio={list(overlap_ratio)} of window_size={window_size} must enlarge windows "
                "by an even number of pixels, the same on both sides."
            )
        super().__init__(
            lambda level, width: TransformerBlock(
                width,
                window_size,
                overlap_ratio[level],
                channel_heads[level],
                spatial_heads[level],
                spatial_dim_head,
                ffn_expansion_factor,
                bias,
                LayerNorm_type,
            ),
            inp_channels,
            out_channels,
            dim,
            num_blocks,
            num_refinement_blocks,
            bias,
        )
        self.scale = scale
        lowest = 8 * window_size
        multiple = lowest // math.gcd(lowest, scale)
        self.traits = dataclasses.replace(type(self).traits, size_multiple=multiple, scale=scale)

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes.

        No key tells `scale`, which stays 1, and windows are taken to overlap by half.

        Raises:
            KeyError: The keys are another network's.
        """
        positions = state["latent.0.spatial_attn.rel_pos_emb.rel_height"]
        dim_head = positions.shape[1]
        inner = [len(state[f"{level}.0.spatial_attn.qkv.weight"]) for level in LEVELS]
        return {
            **unet_settings(state),
            "channel_heads": [len(state[f"{level}.0.channel_attn.temperature"]) for level in LEVELS],
            "spatial_heads": [whole(width, 3 * dim_head) for width in inner],
            "window_size": round((len(positions) + 1) / 2 / (1 + OVERLAP)),
            "spatial_dim_head": dim_head,
            "ffn_expansion_factor": factor(ffn_widths(state, "channel_ffn")),
        }

    def forward(self, inp_img: Tensor) -> Tensor:
        """(B, inp_channels, H, W) in [0, 1], H, W >= 1, to (B, out_channels, scale H, scale W), not clipped."""
        height, width = inp_img.shape[-2:]
        picture = pad_to_multiple(inp_img, self.traits.size_multiple)
        if self.scale > 1:
            picture = F.interpolate(picture, scale_factor=self.scale, mode="bilinear", align_corners=False)
        out = self.restore_padded(channels_last(picture))
        return out[..., : self.scale * height, : self.scale * width]
