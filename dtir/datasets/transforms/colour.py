"""Colours that a small set of clean pictures does not have."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from dtir.core.errors import ConfigError
from dtir.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomRecolor(BaseTransform):
    """Permutes the channels and bends each by a gamma of its own; for clean pictures, before they are degraded.

    A network that has seen few photographs otherwise takes their palette for a law of nature.

    Args:
        strength: Gammas are drawn log-uniformly from exp(-strength) to exp(strength).

    Raises:
        ConfigError: `strength` is negative.
    """

    def __init__(self, strength: float = 0.3):
        if strength < 0:
            raise ConfigError(f"RandomRecolor strength={strength}: expected a number >= 0.")
        self.strength = strength

    def transform(self, results: dict) -> dict:
        """Recolours `gt`, uint8 (H, W, 3), and makes it the `lq` too."""
        rng = results["rng"]
        order = rng.permutation(3)
        gammas = np.exp(rng.uniform(-self.strength, self.strength, 3))
        levels = np.linspace(0, 1, 256)[:, None] ** gammas
        table = np.rint(255 * levels).astype(np.uint8)[None]
        recoloured = cv2.LUT(np.ascontiguousarray(results["gt"][..., order]), table)
        results["gt"] = results["lq"] = recoloured
        return results
