"""Self-ensemble: the mean of a network's outputs for the flips and quarter turns of its input."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Restore = Callable[[Tensor, Tensor], Tensor]


def averaged_over_symmetries(restore: Restore, image: Tensor, t: Tensor) -> Tensor:
    """Mean over the eight symmetries of the square of: turn, restore, turn back.

    Args:
        restore: Maps pictures (B, 3, H, W) and steps (B,) to pictures of that size.
        image: (B, 3, H, W).
        t: Time steps (B,).

    Returns:
        (B, 3, H, W) of the type of `image`.
    """
    return _averaged(restore, image, t, range(4))


def averaged_over_flips(restore: Restore, image: Tensor, t: Tensor) -> Tensor:
    """The average over the four symmetries that keep the sides: the picture itself and its flips.

    Both flips together are a half turn.
    """
    return _averaged(restore, image, t, (0, 2))


def _averaged(restore: Restore, image: Tensor, t: Tensor, quarter_turns: Sequence[int]) -> Tensor:
    total = torch.zeros_like(image)
    for turns in quarter_turns:
        turned = image.rot90(turns, (-2, -1))
        mirrored = restore(turned.flip(-1), t).flip(-1)
        total += (restore(turned, t) + mirrored).float().rot90(-turns, (-2, -1))
    return total / (2 * len(quarter_turns))
