"""Damage that was recorded in real or published pairs, laid over other pictures."""

import os
from collections.abc import Sequence

import numpy as np

from dtir.imaging.listing import list_images, path_list
from dtir.registry import DEGRADATIONS

from .base import Degradation


@DEGRADATIONS.register_module()
class RecordedRain(Degradation):
    """Streaks of rainy pairs, LQ - GT, added to another picture.

    The rain of Rain100H, Rain100L and the like is grey light that was added to clean photographs, so that the
    difference of a pair is the layer of streaks itself, but where the sum was clipped.

    Args:
        data_root: Folders of pairs, each with `LQ` and `GT` of equal names; a relative path starts from DTIR_DATA.
        cache_mb: Limit of the process's cache of decoded pictures, in MiB, shared with datasets of the same limit.

    Raises:
        DatasetError: A folder is missing.
    """

    severity = (0.3, 0.7)
    task = "rainy"

    def __init__(self, data_root: str | os.PathLike | Sequence[str | os.PathLike], cache_mb: float = 256) -> None:
        # Not above: datasets build their degradations, and these two modules are the datasets' own.
        from dtir.datasets.base import require_folder, resolve_root

        roots = [require_folder(resolve_root(root), "rainy") for root in path_list(data_root)]
        self.pairs = [(str(lq), str(root / "GT" / lq.name)) for root in roots for lq in list_images(root / "LQ")]
        self.cache_mb = cache_mb

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Adds a window of a random pair's streaks, as bright as they were at severity 0.5 and twice so at 1."""
        return image + np.float32(2 * severity) * self._layer(image.shape[:2], rng)

    def _layer(self, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """A window (H, W, 3) of a pair's streaks in [0, 1], mirrored in half of the cases."""
        from dtir.datasets.transforms.geometry import reflect_window
        from dtir.datasets.transforms.loading import shared_cache

        read = shared_cache(self.cache_mb).read
        lq, gt = (read(path) for path in self.pairs[rng.integers(len(self.pairs))])
        top, left = (int(rng.integers(max(1, there - here + 1))) for there, here in zip(lq.shape, shape, strict=False))
        window = (top, left, *shape)
        layer = reflect_window(lq, *window).astype(np.float32) - reflect_window(gt, *window)
        mirrored = layer[:, ::-1] if rng.random() < 0.5 else layer
        return np.maximum(mirrored, 0) / np.float32(255)
