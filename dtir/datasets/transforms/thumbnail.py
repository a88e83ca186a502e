"""Small copies of pictures, to learn from what they look like as a whole."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from dtir.core.errors import ConfigError
from dtir.core.ranges import PositiveInt
from dtir.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomThumbnail(BaseTransform):
    """Crops a random rectangle and shrinks it to a square, each pixel the mean of its area; alike LQ and GT.

    Args:
        side: of the square, in pixels, where the sample has no `patch` of its own.
        share: of each side of the picture that the rectangle has, a range (low, high) in (0, 1].

    Raises:
        ConfigError: `share` is no such range.
    """

    def __init__(self, side: PositiveInt = 96, share: tuple[float, float] = (0.5, 1.0)) -> None:
        if np.ndim(share) != 1 or len(share) != 2 or not 0 < share[0] <= share[1] <= 1:
            raise ConfigError(f"RandomThumbnail share={share}: expected a range (low, high) in (0, 1].")
        self.side, self.share = side, share

    def transform(self, results: dict) -> dict:
        """Makes `lq` and `gt` uint8 (side, side, 3)."""
        side, same = results.get("patch", self.side), results["lq"] is results["gt"]
        window = self._window(results["gt"].shape[:2], results["rng"])
        results["gt"] = _shrunk(results["gt"], window, side)
        results["lq"] = results["gt"] if same else _shrunk(results["lq"], window, side)
        return results

    def _window(self, size: tuple[int, int], rng: np.random.Generator) -> tuple[slice, slice]:
        lengths = [max(1, round(whole * rng.uniform(*self.share))) for whole in size]
        starts = [int(rng.integers(0, whole - length + 1)) for whole, length in zip(size, lengths, strict=True)]
        return tuple(slice(start, start + length) for start, length in zip(starts, lengths, strict=True))


def _shrunk(picture: np.ndarray, window: tuple[slice, slice], side: int) -> np.ndarray:
    return cv2.resize(np.ascontiguousarray(picture[window]), (side, side), interpolation=cv2.INTER_AREA)
