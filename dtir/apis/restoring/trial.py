"""Damage that is found by removing it: what a restoration makes of a small copy, where an estimator knows of none.

A shadow is no property of pixels: photographs of scenes have shadows that belong to them, and dark things. On an even
ground it is what makes the ground uneven, and so the ground is even without it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

# Longer side of the copy, and side of the blocks that brightness is compared of, which have no texture; in pixels.
COPIED, BLOCK = 256, 8
# The largest spread of an even ground: standard deviation of the logarithm of the brightness.
EVEN = 0.17
# Added to brightness in [0, 1], so that black has a logarithm.
DARK = 0.02
LEAST_BLOCKS = 16


def small_copy(image: Tensor) -> Tensor:
    """An image (1, 3, H, W) at a longer side of at most `COPIED` pixels."""
    height, width = image.shape[-2:]
    scale = COPIED / max(height, width)
    if scale >= 1:
        return image
    size = [max(1, round(length * scale)) for length in (height, width)]
    return F.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)


def evened(before: Tensor, after: Tensor) -> float:
    """The share of a picture's unevenness that a restoration takes away, at most 1.

    It is that of the variance of the logarithm of the brightness of blocks; 0 where what is left is no even ground
    (`EVEN`), or where there are too few blocks to tell.

    Args:
        before: (1, 3, H, W) in [0, 1], see `small_copy`.
        after: The same, restored.
    """
    if (before.shape[-2] // BLOCK) * (before.shape[-1] // BLOCK) < LEAST_BLOCKS:
        return 0.0
    spread, left = (torch.log(F.avg_pool2d(x.mean(1, keepdim=True), BLOCK) + DARK).std() for x in (before, after))
    return 1 - float((left / spread) ** 2) if left <= EVEN and spread > 0 else 0.0
