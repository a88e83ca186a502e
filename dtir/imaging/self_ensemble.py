"""Self-ensemble: the mean of a network's outputs for the flips and quarter turns of its input."""

from collections.abc import Callable

import torch
from torch import Tensor


def averaged_over_symmetries(restore: Callable[[Tensor, Tensor], Tensor], image: Tensor, t: Tensor) -> Tensor:
    """Mean over the eight symmetries of the square of: turn, restore, turn back.

    Args:
        restore: Maps pictures (B, 3, H, W) and steps (B,) to pictures of that size.
        image: (B, 3, H, W).
        t: Time steps (B,).

    Returns:
        (B, 3, H, W) of the type of `image`.
    """
    total = torch.zeros_like(image)
    for turns in range(4):
        turned = image.rot90(turns, (-2, -1))
        mirrored = restore(turned.flip(-1), t).flip(-1)
        total += (restore(turned, t) + mirrored).float().rot90(-turns, (-2, -1))
    return total / 8
