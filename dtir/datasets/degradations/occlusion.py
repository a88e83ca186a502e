"""Damage by what lies over the picture: shadows, and strokes that are to be filled."""

import cv2
import numpy as np

from dtir.registry import DEGRADATIONS

from .base import Degradation, fractal_field


@DEGRADATIONS.register_module()
class Shadow(Degradation):
    """Cast shadows: soft irregular regions in which light is dimmed, red more than blue, as under a blue sky."""

    severity = (0.3, 0.7)

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Dims display values in the shadow."""
        mask = self.mask(image.shape[:2], rng)[..., None]
        dimmed = (1 - 1.0 * severity * rng.uniform(0.85, 1.1)) + np.array([-0.03, 0.0, 0.05])
        return image * (1 - mask * (1 - np.clip(dimmed, 0.05, 1)).astype(np.float32))

    def mask(self, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """Depth of the shadow (H, W), exactly 0 outside and 1 in the core, with penumbras of a random width."""
        field = fractal_field(shape, rng, 160, 4)
        softness = rng.uniform(0.07, 0.33)
        ramp = np.clip((field - 0.42) / softness, 0, 1)
        return ramp * ramp * (3 - 2 * ramp)


@DEGRADATIONS.register_module()
class InpaintingMask(Degradation):
    """Thin strokes of missing pixels, white, as RePaint's thin masks."""

    severity = (0.3, 0.7)
    canvas = 256
    turns = 6

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Sets the strokes to white and leaves the rest as it is."""
        return np.where(self.mask(image.shape[:2], rng, severity)[..., None], np.float32(1), image)

    def mask(self, shape: tuple[int, int], rng: np.random.Generator, severity: float) -> np.ndarray:
        """Where pixels are missing, bool (H, W); the share of missing pixels grows with severity."""
        reach = self.canvas // 2
        height, width = shape[0] + 2 * reach, shape[1] + 2 * reach
        number = rng.poisson(2 * severity * 15 * height * width / self.canvas**2)
        mask = np.zeros(shape, np.uint8)
        start = rng.uniform(0, [width, height], (number, 1, 2)) - reach
        heading = rng.uniform(0, 2 * np.pi, (number, 1)) + np.cumsum(rng.normal(0, 0.6, (number, self.turns)), axis=1)
        length = rng.uniform(10, 36, (number, self.turns))
        moves = length[..., None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
        paths = np.concatenate([start, start + np.cumsum(moves, axis=1)], axis=1)
        for path, thickness in zip(np.rint(paths).astype(np.int32), rng.integers(3, 8, number), strict=True):
            cv2.polylines(mask, [path], False, 1, int(thickness))
        return mask.astype(bool)
