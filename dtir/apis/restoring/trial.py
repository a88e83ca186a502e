"""Damage that is found by removing it: what a restoration makes of a small copy, where an estimator names no more.

A shadow is no property of pixels: photographs of scenes have shadows that belong to them, and dark things. On an even
ground it is what makes the ground uneven, and so the ground is even without it. It takes the same share of the light
from all that it falls on, so that all of it is brightened alike.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from dtir.models.estimator import judged_part

# Longer side of the copy, and side of the blocks that brightness is compared of, which have no texture; in pixels.
COPIED, BLOCK = 256, 8
# The largest spread of an even ground, and the least of one that is not: standard deviation of the logarithm of the
# brightness; a block that has become brighter did so by more than the latter.
EVEN, UNEVEN = 0.2, 0.08
# The largest standard deviation of how much brighter the ground in a shadow becomes, as a share of its mean: of
# logarithms.
ALIKE = 0.3
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

    It is that of the variance of the logarithm of the brightness of blocks; 0 where there was hardly any (`UNEVEN`),
    where what is left is no even ground (`EVEN`), or where the ground was not brightened as that of a shadow is
    (`ALIKE`).

    Args:
        before: (1, 3, H, W) in [0, 1], see `small_copy`, of which `tells` is true.
        after: The same, restored.
    """
    was, now = (torch.log(F.avg_pool2d(x.mean(1), BLOCK) + DARK).flatten() for x in (before, after))
    spread, left = was.std(), now.std()
    is_ground = left <= EVEN and spread >= UNEVEN and _all_alike(now - was)
    return 1 - float((left / spread) ** 2) if is_ground else 0.0


def _all_alike(brighter: Tensor) -> bool:
    risen = brighter[brighter > UNEVEN]
    if not len(risen):
        return False
    # Of what was lit nothing becomes half as much brighter as the middle of the shade does.
    shade = brighter[brighter > risen.median() / 2]
    return bool(shade.std(correction=0) <= ALIKE * shade.mean())
