"""From a pair of pictures to a dataset item."""

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from dtir.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackPair(BaseTransform):
    """Packs the pair as `dict(inputs=LQ, data_samples=dict(gt=GT, generative=bool, ...))`.

    A sample with a time step of its own has it as `step` in `data_samples`, one with several damages has these as
    `damages`, a list of `Damage`.

    Args:
        meta_keys: further entries of the sample to copy into `data_samples`; training needs none.
    """

    def __init__(self, meta_keys: Sequence[str] = ()):
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        """Returns the item; LQ and GT are uint8 tensors (3, H, W)."""
        data_samples = {"gt": _to_tensor(results["gt"]), "generative": results["generative"]}
        data_samples.update({key: results[key] for key in ("step", "damages") if key in results})
        data_samples.update({key: results[key] for key in self.meta_keys})
        return {"inputs": _to_tensor(results["lq"]), "data_samples": data_samples}


def _to_tensor(picture: np.ndarray) -> torch.Tensor:
    # A copy: the picture may be a read-only array of the cache.
    return torch.from_numpy(picture.transpose(2, 0, 1).copy())
