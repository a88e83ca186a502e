"""Damage that was recorded in real or published pairs, laid over other pictures."""

import os
from collections.abc import Sequence

import cv2
import numpy as np

from dtir.imaging.haze import scatter_light, transmission
from dtir.imaging.listing import list_images, path_list
from dtir.registry import DEGRADATIONS

from .base import Degradation


class Recorded(Degradation):
    """Damage of a window of a random pair.

    Args:
        data_root: Folders of pairs, each with `LQ` and `GT` of equal names; a relative path starts from DTIR_DATA.
        cache_mb: Limit of the process's cache of decoded pictures, in MiB, shared with datasets of the same limit.

    Raises:
        DatasetError: A folder is missing.
    """

    def __init__(self, data_root: str | os.PathLike | Sequence[str | os.PathLike], cache_mb: float = 256) -> None:
        # Not above: datasets build their degradations, and these two modules are the datasets' own.
        from dtir.datasets.base import require_folder, resolve_root

        roots = [require_folder(resolve_root(root), self.task) for root in path_list(data_root)]
        self.pairs = [(str(lq), str(root / "GT" / lq.name)) for root in roots for lq in list_images(root / "LQ")]
        self.cache_mb = cache_mb

    def window(self, shape: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """LQ and GT of a window of a random pair, float32 (H, W, 3) in [0, 1], mirrored in half of the cases."""
        from dtir.datasets.transforms.geometry import reflect_window
        from dtir.datasets.transforms.loading import shared_cache

        read = shared_cache(self.cache_mb).read
        lq, gt = (read(path) for path in self.pairs[rng.integers(len(self.pairs))])
        top, left = (int(rng.integers(max(1, there - here + 1))) for there, here in zip(lq.shape, shape, strict=False))
        step = -1 if rng.random() < 0.5 else 1
        lq, gt = (
            reflect_window(picture, top, left, *shape)[:, ::step].astype(np.float32) / np.float32(255)
            for picture in (lq, gt)
        )
        return lq, gt


@DEGRADATIONS.register_module()
class RecordedRain(Recorded):
    """Streaks of rainy pairs, LQ - GT, added to another picture; arguments as of `Recorded`.

    The rain of Rain100H, Rain100L and the like is grey light that was added to clean photographs, so that the
    difference of a pair is the layer of streaks itself, but where the sum was clipped.
    """

    severity = (0.3, 0.7)
    task = "rainy"

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Adds a window of a random pair's streaks, as bright as they were at severity 0.5 and twice so at 1."""
        lq, gt = self.window(image.shape[:2], rng)
        return image + np.float32(2 * severity) * np.maximum(lq - gt, 0)


@DEGRADATIONS.register_module()
class RecordedHaze(Recorded):
    """White haze over another picture, by the depth that that of a pair was rendered with; arguments as of `Recorded`.

    It is meant for pairs like those of RESIDE's SOTS indoors, whose airlight is white (`transmission`). The depth is
    blurred, since its edges lie elsewhere than those of the other picture.
    """

    severity = (0.2, 0.8)
    task = "hazy"
    blur = 10.0

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Lays the haze of a window of a random pair over it, as thick as it was at severity 0.5 and twice so at 1."""
        depth = cv2.GaussianBlur(-np.log(transmission(*self.window(image.shape[:2], rng))), (0, 0), self.blur)
        return scatter_light(image, depth, 2 * severity, np.ones(3))
