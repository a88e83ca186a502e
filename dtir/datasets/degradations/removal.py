"""Damage that takes away what only a generative model can give back: colour, surroundings, detail.

These are the tasks of SR3 and Palette beside `InpaintingMask` and `JPEGCompression`; none of the ten tasks uses them.
"""

import numpy as np
import torch
from torch.nn import functional as F

from dtir.registry import DEGRADATIONS

from .base import Degradation

# ITU-R BT.601: shares of red, green and blue in the brightness of display values.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@DEGRADATIONS.register_module()
class Greyscale(Degradation):
    """Colours fade to their brightness (luma of BT.601); a severity of 0.5 and more leaves none, 0 leaves all."""

    severity = (0.5, 0.5)

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Moves every pixel towards grey by twice the severity."""
        grey = (image @ LUMA)[..., None]
        return image + np.float32(min(1.0, 2 * severity)) * (grey - image)


@DEGRADATIONS.register_module()
class Uncropping(Degradation):
    """Surroundings are missing, white: along one random side, or along all four (Saharia et al., Palette, 2022).

    Severity is the missing share of the picture. Unlike the others this damage belongs to the frame, not to an endless
    canvas: a crop of a degraded picture is something else than a degraded crop. Hence no margin.
    """

    severity = (0.5, 0.5)
    margin = 0

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Sets what is missing to white and leaves the rest as it is."""
        return np.where(self.mask(image.shape[:2], rng, severity)[..., None], np.float32(1), image)

    def mask(self, shape: tuple[int, int], rng: np.random.Generator, severity: float) -> np.ndarray:
        """Where pixels are missing, bool (H, W)."""
        kind = int(rng.integers(5))
        # What stays is a rectangle: of all sides but one, or of the picture's own proportions in its middle.
        share = np.sqrt(1 - severity) if kind == 4 else 1 - severity
        rows, columns = (round(share * side) for side in shape)
        mask = np.ones(shape, bool)
        kept = {
            0: np.s_[:rows, :],
            1: np.s_[shape[0] - rows :, :],
            2: np.s_[:, :columns],
            3: np.s_[:, shape[1] - columns :],
            4: _middle(shape, rows, columns),
        }
        mask[kept[kind]] = False
        return mask


def _middle(shape: tuple[int, int], rows: int, columns: int) -> tuple[slice, slice]:
    top, left = (shape[0] - rows) // 2, (shape[1] - columns) // 2
    return np.s_[top : top + rows, left : left + columns]


@DEGRADATIONS.register_module()
class BicubicDownsampling(Degradation):
    """A small picture: antialiased bicubic down-sampling, and bicubic up-sampling back to the same size.

    Severity is the factor on a logarithmic scale: 0.5 is 4, 0.25 is 2, 0.75 is 8, 0 is 1, and 1 is 16.
    """

    severity = (0.5, 0.5)
    margin = 32

    def factor(self, severity: float) -> float:
        """The factor by which sides become smaller."""
        return 16**severity

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Down and up; sides of the small picture are rounded, and at least 1."""
        small = [max(1, round(side / self.factor(severity))) for side in image.shape[:2]]
        picture = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        # A stored picture has no values outside of [0, 1], which the kernel's negative lobes give.
        lost = _bicubic(_bicubic(picture, small).clamp(0, 1), list(image.shape[:2]))
        return lost[0].permute(1, 2, 0).numpy()


def _bicubic(picture: torch.Tensor, size: list[int]) -> torch.Tensor:
    return F.interpolate(picture, size, mode="bicubic", antialias=True)
