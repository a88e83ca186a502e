"""The damage, for synthetic pairs."""

import numpy as np

from dtir.datasets.degradations import Degradation
from dtir.registry import DEGRADATIONS


@DEGRADATIONS.register_module()
class MyStripes(Degradation):
    """Rows that are too bright or too dark, as a bad sensor makes them."""

    severity = (0.3, 0.7)

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Adds an offset to every row of a float32 picture (H, W, 3) in [0, 1]; all chance comes from `rng`."""
        offsets = rng.normal(0, 0.15 * severity, (len(image), 1, 1))
        return image + offsets.astype(np.float32)
