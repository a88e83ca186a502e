"""Attention within square windows, shared by the networks with Swin transformer blocks."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def attend_in_windows(
    qkv: Tensor, side: int, heads: int, bias: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Attention between the pixels of each window.

    Args:
        qkv: Queries, keys and values (B, H, W, 3 C), in this order, each with its heads one after the other; height
            and width are multiples of `side`.
        side: Side of the windows.
        heads: Heads.
        bias: Added to the logits by the place of query and key, (heads, side^2, side^2).
        mask: Added to the logits of each window, (windows, side^2, side^2); None where nothing is masked.
        scale: Factor of the logits; by default one over the square root of a head's channels.

    Returns:
        (B, H, W, C).
    """
    batch, height, width, channels = qkv.shape
    rows, columns, dim = height // side, width // side, channels // 3 // heads
    parts = qkv.reshape(batch, rows, side, columns, side, 3, heads, dim).permute(5, 0, 1, 3, 6, 2, 4, 7)
    parts = parts.reshape(3, batch, rows * columns, heads, side * side, dim)
    if mask is None:
        q, k, v = parts.flatten(1, 2).unbind(0)
        out = _attention(q, k, v, bias[None], scale)
    else:
        # Windows take the place of heads, so that one mask serves every picture of the batch.
        q, k, v = parts.flatten(2, 3).unbind(0)
        out = _attention(q, k, v, (mask[:, None] + bias).flatten(0, 1)[None], scale)
    out = out.reshape(batch, rows, columns, heads, side, side, dim).permute(0, 1, 4, 2, 5, 3, 6)
    return out.reshape(batch, height, width, heads * dim)


def _attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float | None) -> Tensor:
    """`scaled_dot_product_attention`, or the same in steps where that is faster."""
    if bias.requires_grad and torch.is_grad_enabled() and bias.device.type == "cpu":
        # The fused kernel has no gradient of the bias on a CPU; what replaces it there is slower than this.
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        return ((q * scale) @ k.transpose(-2, -1) + bias).softmax(-1) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)


def shift_mask(height: int, width: int, side: int, shift: int, like: Tensor) -> Tensor:
    """What keeps pixels apart that only a cyclic shift has brought into one window.

    Args:
        height: Height of the picture, a multiple of `side`.
        width: Width of the picture, a multiple of `side`.
        side: Side of the windows.
        shift: By how many pixels the picture was shifted up and to the left.
        like: A tensor of the type and device of the result.

    Returns:
        (windows, side^2, side^2), 0 or -100.
    """
    rows, columns = (_region(length, side, shift, like.device) for length in (height, width))
    regions = (3 * rows[:, None] + columns).reshape(height // side, side, width // side, side)
    regions = regions.transpose(1, 2).reshape(-1, side * side)
    apart = regions[:, :, None] != regions[:, None, :]
    return apart.to(like.dtype) * -100.0


def _region(length: int, side: int, shift: int, device: torch.device) -> Tensor:
    """0 in all windows but the last, and there 1 or 2 for what was and was not shifted in."""
    index = torch.arange(length, device=device)
    return (index >= length - side).long() + (index >= length - shift).long()


def relative_index(side: int) -> Tensor:
    """Row of a table of (2 side - 1)^2 distances for each pair of places in a window, (side^2, side^2)."""
    place = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")).flatten(1)
    distance = place[:, :, None] - place[:, None, :] + side - 1
    return distance[0] * (2 * side - 1) + distance[1]


class WindowAttention(nn.Module):
    """Attention within windows, with a learned bias for each distance.

    Args:
        dim: Channels.
        window_size: Side of the windows.
        num_heads: Heads.
        qkv_bias: Whether the projection to queries, keys and values has a bias.
        qk_scale: Factor of the logits; one over the square root of a head's channels by default.
    """

    def __init__(self, dim: int, window_size: int, num_heads: int, qkv_bias: bool, qk_scale: float | None) -> None:
        super().__init__()
        self.window_size, self.num_heads, self.scale = window_size, num_heads, qk_scale
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window_size - 1) ** 2, num_heads))
        self.register_buffer("relative_position_index", relative_index(window_size))
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, H, W, C), and what keeps pixels apart (windows, side^2, side^2), to (B, H, W, C)."""
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        out = attend_in_windows(self.qkv(x), self.window_size, self.num_heads, bias, mask, self.scale)
        return self.proj(out)
