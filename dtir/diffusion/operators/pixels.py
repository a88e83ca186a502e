"""Operators that work on every pixel by itself: inpainting and colourisation."""

from pathlib import Path

import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.operators.base import SpectralOperator, orthogonal_basis
from dtir.imaging.files import read_rgb
from dtir.registry import OPERATORS


@OPERATORS.register_module()
class Inpainting(SpectralOperator):
    """Keeps the pixels where the mask is 1; the others are 0 in y, which has the picture's shape.

    Args:
        mask: (H, W), (1, H, W) or (B, 1, H, W), 1 to keep.
    """

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask = mask

    @override
    def to_spectrum(self, x: Tensor) -> Tensor:
        """The pixels themselves."""
        return x

    from_spectrum = to_spectrum

    @override
    def measured_spectrum(self, y: Tensor) -> Tensor:
        return y * self.singular_values(y)

    @override
    def measurement(self, z: Tensor) -> Tensor:
        return z

    def singular_values(self, like: Tensor) -> Tensor:
        """The mask."""
        return self._like("mask", self.mask, like)

    @override
    def y_from_picture(self, picture: Tensor) -> Tensor:
        """What the mask leaves out becomes 0."""
        return self.A(picture)


@OPERATORS.register_module()
class BoxInpainting(Inpainting):
    """Inpainting of a rectangle in the middle.

    Args:
        height: Height of the pictures.
        width: Width of the pictures.
        share: Share of each side that is missing, in (0, 1).

    Raises:
        ConfigError: `share` is outside (0, 1).
    """

    def __init__(self, height: int, width: int, share: float = 0.5) -> None:
        if not 0 < share < 1:
            raise ConfigError(f"BoxInpainting: share={share} must lie in (0, 1).")
        mask = torch.ones(height, width)
        rows, columns = round(share * height), round(share * width)
        top, left = (height - rows) // 2, (width - columns) // 2
        mask[top : top + rows, left : left + columns] = 0
        super().__init__(mask)


@OPERATORS.register_module()
class RandomInpainting(Inpainting):
    """Inpainting of single pixels.

    Args:
        height: Height of the pictures.
        width: Width of the pictures.
        missing: Share of the pixels that are missing, in (0, 1).
        seed: Seed of the choice.

    Raises:
        ConfigError: `missing` is outside (0, 1).
    """

    def __init__(self, height: int, width: int, missing: float = 0.7, seed: int = 0) -> None:
        if not 0 < missing < 1:
            raise ConfigError(f"RandomInpainting: missing={missing} must lie in (0, 1).")
        generator = torch.Generator().manual_seed(seed)
        super().__init__((torch.rand(height, width, generator=generator) >= missing).float())


@OPERATORS.register_module()
class FileInpainting(Inpainting):
    """Inpainting with a mask from a picture file, white to keep and black to fill.

    Args:
        mask_file: The picture.
        height: Height of the pictures.
        width: Width of the pictures.

    Raises:
        ImageFileError: The file cannot be read.
        ConfigError: The mask is smaller than the pictures; of a larger one the top left part is taken.
    """

    def __init__(self, mask_file: str | Path, height: int, width: int) -> None:
        mask = torch.from_numpy(read_rgb(mask_file)).float().mean(2) >= 128
        if mask.shape[0] < height or mask.shape[1] < width:
            raise ConfigError(
                f"FileInpainting: the mask '{mask_file}' has {mask.shape[0]} x {mask.shape[1]} pixels, the pictures "
                f"have {height} x {width}; draw a mask of their size."
            )
        super().__init__(mask[:height, :width].float())


@OPERATORS.register_module()
class Colorization(SpectralOperator):
    """The mean of the three channels: y is (B, 1, H, W).

    Example:
        >>> grey = Colorization()
        >>> y = grey.A(torch.tensor([0.0, 0.3, 0.6]).view(1, 3, 1, 1))
        >>> round(y.item(), 4), tuple(grey.A_pinv(y).shape)
        (0.3, (1, 3, 1, 1))
    """

    def __init__(self) -> None:
        super().__init__()
        self.basis = orthogonal_basis(3)
        self.values = torch.tensor([3**-0.5, 0, 0], dtype=torch.float64).view(1, 3, 1, 1)

    @override
    def to_spectrum(self, x: Tensor) -> Tensor:
        """The first channel is the measured one."""
        return torch.einsum("ij,bjhw->bihw", self._like("basis", self.basis, x), x)

    @override
    def from_spectrum(self, z: Tensor) -> Tensor:
        return torch.einsum("ij,bihw->bjhw", self._like("basis", self.basis, z), z)

    @override
    def measured_spectrum(self, y: Tensor) -> Tensor:
        return torch.cat([y, y.new_zeros(len(y), 2, *y.shape[2:])], 1)

    @override
    def measurement(self, z: Tensor) -> Tensor:
        return z[:, :1]

    def singular_values(self, like: Tensor) -> Tensor:
        """`1 / sqrt(3)` for the mean, 0 for the rest."""
        return self._like("values", self.values, like)

    @override
    def y_as_picture(self, y: Tensor) -> Tensor:
        """Grey."""
        return y.expand(-1, 3, -1, -1)

    @override
    def y_from_picture(self, picture: Tensor) -> Tensor:
        return self.A(picture)
