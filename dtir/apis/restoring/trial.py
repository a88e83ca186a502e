"""Damage that is found by removing it: what a restoration makes of a small copy, where an estimator names no more.

A shadow is no property of pixels: photographs of scenes have shadows that belong to them, and dark things. On an even
ground it is what makes the ground uneven, and so the ground is even without it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from dtir.models.estimator import judged_part

# Longer side of the copy, and side of the blocks that brightness is compared of, which have no texture; in pixels.
COPIED, BLOCK = 256, 8
# The largest spread of an even ground, and the least of one that is not: standard deviation of the logarithm of the
# brightness.
EVEN, UNEVEN = 0.17, 0.08
# Added to brightness in [0, 1], so that black has a logarithm.
DARK = 0.02
LEAST_BLOCKS = 16


def small_copy(image: Tensor) -> Tensor:
    """What an estimator sees of an image (1, 3, H, W) (`judged_part`), at a longer side of at most `COPIED` pixels."""
    image = judged_part(image)
    height, width = image.shape[-2:]
    scale = COPIED / max(height, width)
    if scale >= 1:
        return image
    size = [max(1, round(length * scale)) for length in (height, width)]
    return F.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)


def tells(copy: Tensor) -> bool:
    """Whether a copy (1, 3, H, W) has blocks enough to be tried on."""
    return (copy.shape[-2] // BLOCK) * (copy.shape[-1] // BLOCK) >= LEAST_BLOCKS


def evened(before: Tensor, after: Tensor) -> float:
    """The share of a picture's unevenness that a restoration takes away, at most 1.

    It is that of the variance of the logarithm of the brightness of blocks; 0 where there was hardly any (`UNEVEN`), or
    where what is left is no even ground (`EVEN`).

    Args:
        before: (1, 3, H, W) in [0, 1], see `small_copy`, of which `tells` is true.
        after: The same, restored.
    """
    spread, left = (torch.log(F.avg_pool2d(x.mean(1, keepdim=True), BLOCK) + DARK).std() for x in (before, after))
    return 1 - float((left / spread) ** 2) if left <= EVEN and spread >= UNEVEN else 0.0
