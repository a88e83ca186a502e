"""Loading of pictures: from their files with a cache of decoded ones, or from the dataset's pack."""

import functools
import os
from collections import OrderedDict

import numpy as np
from mmcv.transforms import BaseTransform

from dtir.core.errors import DatasetError
from dtir.datasets.packed import PackedPictures
from dtir.imaging.files import read_rgb
from dtir.registry import TRANSFORMS


class PictureCache:
    """Decoded pictures, the least recently used dropped first; never more than `megabytes` of them.

    A picture is known by path, modification time and size, so a changed file is read anew and the cache never changes
    what `read` returns. Pictures are read-only arrays, as they are handed out more than once.
    """

    def __init__(self, megabytes: float):
        self.limit = int(megabytes * 2**20)
        self.used = 0
        self._pictures: OrderedDict[tuple, np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pictures)

    def read(self, path: str) -> np.ndarray:
        """Returns the picture as `read_rgb` does, uint8 (H, W, 3), read-only.

        Raises:
            ImageFileError: the file cannot be read.
        """
        key = _identity(path)
        if key in self._pictures:
            self._pictures.move_to_end(key)
            return self._pictures[key]
        picture = read_rgb(path)
        picture.flags.writeable = False
        self._keep(key, picture)
        return picture

    def _keep(self, key: tuple, picture: np.ndarray) -> None:
        if picture.nbytes > self.limit:
            return
        self._pictures[key] = picture
        self.used += picture.nbytes
        while self.used > self.limit:
            _, dropped = self._pictures.popitem(last=False)
            self.used -= dropped.nbytes


def _identity(path: str) -> tuple:
    try:
        status = os.stat(path)
    except OSError:
        # The reader says what is wrong with the path.
        return (path,)
    return path, status.st_mtime_ns, status.st_size


@functools.cache
def shared_cache(megabytes: float) -> PictureCache:
    """Returns this process's cache of that limit: datasets of one folder share their pictures."""
    return PictureCache(megabytes)


def _source(results: dict, cache_mb: float) -> PictureCache | PackedPictures:
    packed = results.get("packed")
    return shared_cache(cache_mb) if packed is None else packed


@TRANSFORMS.register_module()
class LoadClean(BaseTransform):
    """Loads the clean picture `gt_path` into `gt` and, as yet undegraded, `lq`; from `packed` where the sample has one.

    Args:
        cache_mb: limit of the process's cache of decoded pictures, in MiB; 0 reads anew each time. A pack needs none.
    """

    def __init__(self, cache_mb: float = 256):
        self.cache_mb = cache_mb

    def transform(self, results: dict) -> dict:
        """Adds `gt` and `lq`, the same uint8 (H, W, 3) array."""
        results["gt"] = results["lq"] = _source(results, self.cache_mb).read(results["gt_path"])
        return results


@TRANSFORMS.register_module()
class LoadPair(BaseTransform):
    """Loads `gt_path` into `gt` and `lq_path` into `lq`; from `packed` where the sample has one.

    A generative sample's LQ is its GT.

    Args:
        cache_mb: limit of the process's cache of decoded pictures, in MiB; 0 reads anew each time. A pack needs none.
    """

    def __init__(self, cache_mb: float = 256):
        self.cache_mb = cache_mb

    def transform(self, results: dict) -> dict:
        """Adds `gt` and `lq`, uint8 (H, W, 3).

        Raises:
            DatasetError: the two pictures differ in size.
        """
        pictures = _source(results, self.cache_mb)
        gt = pictures.read(results["gt_path"])
        lq = gt if results["generative"] else pictures.read(results["lq_path"])
        if lq.shape != gt.shape:
            raise DatasetError(
                f"the pair '{results['name']}' differs in size: LQ '{results['lq_path']}' is {_size(lq)}, "
                f"GT '{results['gt_path']}' is {_size(gt)} (width x height). The two must be aligned: crop or "
                "resize them to one size, or remove the pair."
            )
        results.update(lq=lq, gt=gt)
        return results


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
