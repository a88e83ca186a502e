"""The Swin transformer layers of ResShift's U-Net (Yue et al., "ResShift: Efficient Diffusion Model for Image
Super-resolution by Residual Shifting", NeurIPS 2023), with the published state-dict keys."""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.models.backbones.parts.adm_blocks import GROUPS
from dtir.models.backbones.parts.layers import PointwiseConv2d
from dtir.models.backbones.parts.window_attention import WindowAttention


def last_row_mask(height: int, width: int, side: int, shift: int, like: Tensor) -> Tensor:
    """What the published network keeps apart in shifted windows, which is not what the shift has brought together.

    Only the last row of windows is masked, and there the last `shift` columns of every window are kept from the others:
    the published map of regions is written along the rows of the picture alone and then read transposed within each
    window. Trained weights know no other mask, so that this one belongs to the network.

    Args:
        height: Height of the features, a multiple of `side`.
        width: Width of the features, a multiple of `side`.
        side: Side of the windows.
        shift: By how many pixels the features were shifted.
        like: A tensor of the type and device of the result.

    Returns:
        (windows, side^2, side^2), 0 or -100.
    """
    rows, columns = height // side, width // side
    beyond = (torch.arange(side, device=like.device) >= side - shift).repeat(side)
    apart = (beyond[:, None] != beyond).to(like.dtype) * -100.0
    mask = apart.new_zeros(rows, columns, side * side, side * side)
    mask[-1] = apart
    return mask.flatten(0, 1)


class Mlp(nn.Module):
    """A feed-forward part over the channels.

    Args:
        dim: Channels.
        hidden: Hidden channels.
        dropout: Probability of a zero in training.
    """

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.fc1 = PointwiseConv2d(dim, hidden)
        self.fc2 = PointwiseConv2d(hidden, dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W) to the same shape."""
        return self.drop(self.fc2(self.drop(F.gelu(self.fc1(x)))))


class SwinTransformerBlock(nn.Module):
    """Attention within windows, every other time within shifted ones, and a feed-forward part, on feature maps.

    Args:
        dim: Channels.
        input_resolution: Side of the features for which the published checkpoint stores its mask.
        num_heads: Heads.
        window_size: Side of the windows.
        shift_size: By how many pixels the windows are shifted.
        mlp_ratio: Hidden channels of the feed-forward part over `dim`.
        dropout: Probability of a zero in training.
    """

    def __init__(
        self,
        dim: int,
        input_resolution: int,
        num_heads: int,
        window_size: int,
        shift_size: int,
        mlp_ratio: float,
        dropout: float,
    ) -> None:
        super().__init__()
        if input_resolution <= window_size:
            shift_size, window_size = 0, input_resolution
        self.window, self.shift = window_size, shift_size
        self.norm1 = nn.GroupNorm(GROUPS, dim)
        self.attn = WindowAttention(dim, window_size, num_heads, qkv_bias=True, qk_scale=None)
        self.drop = nn.Dropout(dropout)
        self.norm2 = nn.GroupNorm(GROUPS, dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), dropout)
        mask = None
        if shift_size:
            # Kept for the sake of the published keys; features of another size need another one.
            side = input_resolution
            mask = last_row_mask(side, side, window_size, shift_size, self.norm1.weight.detach())
        self.register_buffer("attn_mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W), sides multiples of the window's, to the same shape."""
        y = self.norm1(x).permute(0, 2, 3, 1)
        if self.shift:
            mask = last_row_mask(*x.shape[-2:], self.window, self.shift, y)
            y = y.roll((-self.shift, -self.shift), (1, 2))
            y = self.attn(y, mask).roll((self.shift, self.shift), (1, 2))
        else:
            y = self.attn(y, None)
        x = x + self.drop(y).permute(0, 3, 1, 2)
        return x + self.mlp(self.norm2(x))


class BasicLayer(nn.Module):
    """Swin transformer blocks between two projections.

    Args:
        in_chans: Channels of input and output.
        embed_dim: Channels of the blocks.
        num_heads: Heads.
        window_size: Side of the windows.
        depth: Blocks.
        img_size: Side of the features for which the checkpoint stores its masks.
        mlp_ratio: Hidden channels of the feed-forward parts over `embed_dim`.
        dropout: Probability of a zero in training.
        patch_norm: Whether both projections are normalised.
    """

    def __init__(
        self,
        in_chans: int,
        embed_dim: int,
        num_heads: int,
        window_size: int,
        depth: int,
        img_size: int,
        mlp_ratio: float,
        dropout: float,
        patch_norm: bool,
    ) -> None:
        super().__init__()
        self.patch_embed = _projection(in_chans, embed_dim, patch_norm)
        self.patch_unembed = _projection(embed_dim, in_chans, patch_norm)
        self.blocks = nn.ModuleList(
            SwinTransformerBlock(
                embed_dim, img_size, num_heads, window_size, window_size // 2 if k % 2 else 0, mlp_ratio, dropout
            )
            for k in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) to the same shape, without a skip."""
        for part in (self.patch_embed, *self.blocks, self.patch_unembed):
            x = part(x)
        return x


def _projection(channels: int, out_channels: int, norm: bool) -> nn.Sequential:
    layers: dict[str, nn.Module] = {"proj": PointwiseConv2d(channels, out_channels)}
    if norm:
        layers["norm"] = nn.GroupNorm(GROUPS, out_channels)
    return nn.Sequential(OrderedDict(layers))
