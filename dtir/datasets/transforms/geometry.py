"""Crops, turns and shrinking, done alike to LQ and GT."""

from collections.abc import Callable

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from dtir.core.ranges import NonNegativeInt, PositiveInt
from dtir.registry import TRANSFORMS


def _apply(results: dict, operation: Callable[[np.ndarray], np.ndarray]) -> dict:
    same = results["lq"] is results["gt"]
    results["gt"] = operation(results["gt"])
    results["lq"] = results["gt"] if same else operation(results["lq"])
    return results


def reflect_window(picture: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """Returns a window of a picture (H, W, C) that is continued by reflection without repeating its border.

    Args:
        picture: array (H, W, C).
        top: first row; may lie outside the picture.
        left: first column; may lie outside the picture.
        height: rows of the window, any number.
        width: columns of the window, any number.
    """
    rows, columns = picture.shape[:2]
    if top >= 0 and left >= 0 and top + height <= rows and left + width <= columns:
        return picture[top : top + height, left : left + width]
    return picture[_reflect(top, height, rows)][:, _reflect(left, width, columns)]


def _reflect(start: int, length: int, size: int) -> np.ndarray:
    period = max(2 * (size - 1), 1)
    position = np.arange(start, start + length) % period
    return np.minimum(position, period - position) if size > 1 else np.zeros(length, np.intp)


@TRANSFORMS.register_module()
class RandomCropPair(BaseTransform):
    """Crops a random square patch with `margin` pixels of surroundings on each side.

    The patch lies inside the picture; surroundings, and patches larger than the picture, are filled by reflection.

    Args:
        patch: side of the patch, in pixels, where the sample has no `patch` of its own.
        margin: pixels added on every side, for a degradation that looks beyond the patch.
    """

    def __init__(self, patch: PositiveInt, margin: NonNegativeInt = 0):
        self.patch, self.margin = patch, margin

    def transform(self, results: dict) -> dict:
        """Crops `lq` and `gt` to (patch + 2 margin)^2."""
        rng, patch = results["rng"], results.get("patch", self.patch)
        top, left = (_random_start(rng, size, patch) - self.margin for size in results["gt"].shape[:2])
        side = patch + 2 * self.margin
        return _apply(results, lambda picture: reflect_window(picture, top, left, side, side))


def _random_start(rng: np.random.Generator, size: int, patch: int) -> int:
    low, high = sorted((0, size - patch))
    return int(rng.integers(low, high + 1))


@TRANSFORMS.register_module()
class CenterCropPair(BaseTransform):
    """Crops the centre; a side shorter than `size` is left as it is.

    Args:
        size: side of the crop, in pixels, where the sample has no `patch` of its own.
    """

    def __init__(self, size: int):
        self.size = size

    def transform(self, results: dict) -> dict:
        """Crops `lq` and `gt` to at most size x size."""
        size = results.get("patch", self.size)
        return _apply(results, lambda picture: _centre(picture, size))


def _centre(picture: np.ndarray, size: int) -> np.ndarray:
    height, width = (min(side, size) for side in picture.shape[:2])
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]


@TRANSFORMS.register_module()
class RandomFlipRotate(BaseTransform):
    """Puts the pair into one of the eight orientations of the square, each equally likely."""

    def transform(self, results: dict) -> dict:
        """Turns `lq` and `gt` alike."""
        turns, mirrored = results["rng"].integers((4, 2)).tolist()
        return _apply(results, lambda picture: np.rot90(picture[:, ::-1] if mirrored else picture, turns))


@TRANSFORMS.register_module()
class RandomFlipPair(BaseTransform):
    """Mirrors the pair left to right, and upside down, each in half of the cases; steep streaks stay steep."""

    def transform(self, results: dict) -> dict:
        """Mirrors `lq` and `gt` alike."""
        down, across = np.where(results["rng"].integers(2, size=2), -1, 1)
        return _apply(results, lambda picture: picture[::down, ::across])


@TRANSFORMS.register_module()
class ShrinkPair(BaseTransform):
    """Shrinks pictures whose longer side exceeds `max_size` (area averaging); smaller ones stay as they are.

    Args:
        max_size: longest side of the result, in pixels.
    """

    def __init__(self, max_size: int):
        self.max_size = max_size

    def transform(self, results: dict) -> dict:
        """Shrinks `lq` and `gt` alike."""
        return _apply(results, self._shrink)

    def _shrink(self, picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[:2]
        scale = self.max_size / max(height, width)
        if scale >= 1:
            return picture
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
