"""The law of haze, and the depth that a pair of pictures in and without it gives away."""

import cv2
import numpy as np

# A pixel's squared distance from white below which others say more of its transmission than it does.
_LITTLE = 1e-3


def scatter_light(image: np.ndarray, depth: np.ndarray, beta: float, airlight: np.ndarray) -> np.ndarray:
    """I = J t + A (1 - t) of a picture (H, W, 3), a depth (H, W), a scattering coefficient, and an airlight (3,)."""
    through = np.exp(-beta * depth)[..., None].astype(np.float32)
    return image * through + np.asarray(airlight, np.float32) * (1 - through)


def transmission(lq: np.ndarray, gt: np.ndarray) -> np.ndarray:
    """Transmission (H, W) in [0.02, 1] of a hazy pair whose airlight is white: 1 - LQ = t (1 - GT).

    It is the least-squares fit to the channels of each pixel. One that is nearly white in GT says little of it, and has
    that of the 5 x 5 pixels about it, or of the picture; a white picture is without haze. The indoor pairs of RESIDE's
    SOTS follow this law to rounding.

    Args:
        lq: float32 (H, W, 3) in [0, 1].
        gt: Likewise.
    """
    less, full = 1 - lq, 1 - gt
    products = np.stack([(less * full).sum(-1), np.square(full).sum(-1)], axis=-1)
    of_picture = _ratio(products.sum((0, 1)), 1.0)
    around = _ratio(cv2.blur(products, (5, 5), borderType=cv2.BORDER_REFLECT_101), of_picture)
    return np.clip(_ratio(products, around), 0.02, 1)


def _ratio(products: np.ndarray, otherwise: np.ndarray | float) -> np.ndarray:
    """The first over the second of (..., 2), drawn to another value where both are next to nothing."""
    return (products[..., 0] + _LITTLE * otherwise) / (products[..., 1] + _LITTLE)
