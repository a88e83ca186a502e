"""Between a caller's pictures and the float tensors that networks take."""

import numpy as np
import torch
from torch import Tensor


def to_image(rgb: np.ndarray) -> Tensor:
    """A picture (H, W, 3) of uint8, uint16, or floating point in [0, 1], as a float32 image (1, 3, H, W) in [0, 1].

    Raises:
        ValueError: `rgb` has another shape, type or range.
    """
    return torch.from_numpy(_unit_range(rgb)).permute(2, 0, 1)[None]


def to_array(image: Tensor) -> np.ndarray:
    """An image (1, 3, H, W) as an array (H, W, 3), the inverse of `to_image`."""
    return image[0].permute(1, 2, 0).contiguous().numpy()


def _unit_range(rgb: np.ndarray) -> np.ndarray:
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ValueError(f"expected an RGB picture (H, W, 3), got shape {rgb.shape}.")
    if rgb.dtype in (np.uint8, np.uint16):
        return rgb.astype(np.float32) / np.float32(np.iinfo(rgb.dtype).max)
    if not np.issubdtype(rgb.dtype, np.floating):
        raise ValueError(f"expected uint8, uint16 or floating point, got {rgb.dtype}.")
    # Written so that NaN is refused too.
    if not (rgb.min() >= 0 and rgb.max() <= 1):
        raise ValueError(f"expected floating-point values in [0, 1], got {rgb.min()} to {rgb.max()}.")
    return np.ascontiguousarray(rgb, dtype=np.float32)
