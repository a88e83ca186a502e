"""Pixels that are to be filled: found in the degraded picture, told to the network, and only these restored."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dtir.core.errors import ConfigError

# Half a level of 8 bits.
TOLERANCE = 1 / 510


def missing_pixels(lq: Tensor, fill: float) -> Tensor:
    """Where pixels of degraded pictures are missing.

    Args:
        lq: Degraded pictures (B, 3, H, W) in [0, 1].
        fill: The value that all channels of a missing pixel have. A pixel of the picture that has this very colour is
            taken for missing too, and filled.

    Returns:
        Bool (B, 1, H, W).
    """
    return ((lq - fill).abs() < TOLERANCE).all(1, keepdim=True)


def with_mask(condition: Tensor, missing: Tensor) -> Tensor:
    """A condition (B, C, H, W) and a channel that is 1 where a pixel is missing and -1 where not, (B, C + 1, H, W)."""
    return torch.cat([condition, 2 * missing.to(condition.dtype) - 1], 1)


def loss_on_missing(loss: Callable[[Tensor, Tensor], Tensor], out: Tensor, target: Tensor, missing: Tensor) -> Tensor:
    """A pixel loss (B,) as the mean over the missing pixels of every sample; 0 of a sample without any."""
    share = missing.flatten(1).float().mean(1)
    total = loss(torch.where(missing, out, target.to(out.dtype)), target)
    return torch.where(share > 0, total / share.clamp(min=1 / missing[0].numel()), 0.0)


def check_missing(backbone: nn.Module, fill: float | None) -> None:
    """Checks that what is to be filled is told to the network.

    Raises:
        ConfigError: `fill` is outside [0, 1], or the network takes no mask, or one that nothing is said about.
    """
    if fill is not None and not 0 <= fill <= 1:
        raise ConfigError(f"model.missing={fill} must be a value in [0, 1], such as 1.0 for white, or None.")
    channels = getattr(backbone, "mask_channels", None)
    if fill is not None and channels == 0:
        raise ConfigError(
            f"model.missing={fill} needs a network that is given a mask; set mask_nc=1 of a ConditionalUNet or "
            f"ConditionalNAFNet, cond_mask=True of a UNetModelSwin. {type(backbone).__name__} was made without."
        )
