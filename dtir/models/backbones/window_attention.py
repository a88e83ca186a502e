"""Attention within square windows, shared by the networks with Swin transformer blocks."""

import torch
from torch import Tensor
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
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None], scale=scale)
    else:
        # Windows take the place of heads, so that one mask serves every picture of the batch.
        q, k, v = parts.flatten(2, 3).unbind(0)
        logits = (mask[:, None] + bias).flatten(0, 1)[None]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=logits, scale=scale)
    out = out.reshape(batch, rows, columns, heads, side, side, dim).permute(0, 1, 4, 2, 5, 3, 6)
    return out.reshape(batch, height, width, heads * dim)


def shift_mask(height: int, width: int, side: int, shift: int, like: Tensor) -> Tensor:
    """What keeps pixels apart that only a cyclic shift has brought into one window.

    Args:
        height: Of the picture, a multiple of `side`.
        width: Of the picture, a multiple of `side`.
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
