"""Down-sampling as operators."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.operators.base import LEAST_VALUE, SpectralOperator, inverse_or_zero, orthogonal_basis
from dtir.registry import OPERATORS


class Downsampling(SpectralOperator):
    """What down-sampling by a `factor` has in common: the sizes that go with it."""

    @classmethod
    @override
    def fitting_size(cls, height: int, width: int, /, **settings: object) -> tuple[int, int]:
        """Multiples of the factor."""
        factor = settings["factor"]
        return height // factor * factor, width // factor * factor

    @classmethod
    @override
    def picture_size(cls, height: int, width: int, /, **settings: object) -> tuple[int, int]:
        """Larger by the factor."""
        return height * settings["factor"], width * settings["factor"]


@OPERATORS.register_module()
class AverageDownsampling(Downsampling):
    """The mean of each block of `factor` x `factor` pixels: y is (B, C, H / factor, W / factor).

    Args:
        factor: Side of the blocks.

    Example:
        >>> half = AverageDownsampling(2)
        >>> half.A(torch.arange(4.0).view(1, 1, 2, 2)).item()
        1.5
    """

    def __init__(self, factor: int) -> None:
        if factor < 1:
            raise ConfigError(f"AverageDownsampling: factor={factor} must be at least 1.")
        super().__init__()
        self.factor, self.basis = factor, orthogonal_basis(factor**2)

    @override
    def to_spectrum(self, x: Tensor) -> Tensor:
        """The first coefficient of each block is the measured one.

        Raises:
            ConfigError: Height or width is not a multiple of the factor."""
        if x.shape[-1] % self.factor or x.shape[-2] % self.factor:
            raise ConfigError(
                f"AverageDownsampling: pictures of {x.shape[-2]} x {x.shape[-1]} pixels are not made of blocks of "
                f"factor={self.factor}; crop them."
            )
        return self._turn(x, self._like("basis", self.basis, x))

    @override
    def from_spectrum(self, z: Tensor) -> Tensor:
        return self._turn(z, self._like("basis", self.basis, z).t())

    def _turn(self, x: Tensor, matrix: Tensor) -> Tensor:
        f, (batch, channels, height, width) = self.factor, x.shape
        blocks = x.reshape(batch, channels, height // f, f, width // f, f).transpose(3, 4).flatten(4)
        turned = (blocks @ matrix.t()).unflatten(4, (f, f)).transpose(3, 4)
        return turned.reshape(x.shape)

    @override
    def measured_spectrum(self, y: Tensor) -> Tensor:
        z = y.new_zeros(*y.shape[:2], y.shape[2] * self.factor, y.shape[3] * self.factor)
        z[..., :: self.factor, :: self.factor] = y
        return z

    @override
    def measurement(self, z: Tensor) -> Tensor:
        return z[..., :: self.factor, :: self.factor]

    def singular_values(self, like: Tensor) -> Tensor:
        """`1 / factor` for the means, 0 for the rest."""
        s = like.new_zeros(1, 1, *like.shape[2:])
        s[..., :: self.factor, :: self.factor] = 1 / self.factor
        return s


class _Decomposition(NamedTuple):
    """`matrix = U S V^T` (h, H) without its small singular values, and its pseudo-inverse; s (H,) ends in zeros."""

    u: Tensor
    s: Tensor
    vt: Tensor
    matrix: Tensor
    inverse: Tensor


def _decomposed(matrix: Tensor, threshold: float) -> _Decomposition:
    u, s, vt = torch.linalg.svd(matrix, full_matrices=True)
    s = torch.where(s < threshold * s.max(), 0, s)
    kept, n = torch.zeros(matrix.shape[1], dtype=s.dtype), len(s)
    kept[:n] = s
    inverse = vt[:n].t() * inverse_or_zero(s) @ u[:, :n].t()
    return _Decomposition(u, kept, vt, u[:, :n] * s @ vt[:n], inverse)


@OPERATORS.register_module()
class SeparableOperator(SpectralOperator):
    """One matrix along the rows and one along the columns of every channel, such as a resampling.

    Args:
        rows: (h, H), applied along the height.
        columns: (w, W), applied along the width.
        threshold: Share of the largest singular value below which one counts as 0, in A too.
    """

    def __init__(self, rows: Tensor, columns: Tensor, threshold: float = LEAST_VALUE) -> None:
        super().__init__()
        self.parts = [_decomposed(matrix.double(), threshold) for matrix in (rows, columns)]

    def _sides(self, which: str, like: Tensor) -> tuple[Tensor, Tensor]:
        """The same part of both decompositions."""
        rows, columns = (getattr(part, which) for part in self.parts)
        return self._like(f"rows {which}", rows, like), self._like(f"columns {which}", columns, like)

    # In two products of small matrices, where the spectrum takes four.

    @override
    def A(self, x: Tensor) -> Tensor:
        rows, columns = self._sides("matrix", x)
        return rows @ x @ columns.t()

    @override
    def At(self, y: Tensor) -> Tensor:
        rows, columns = self._sides("matrix", y)
        return rows.t() @ y @ columns

    @override
    def A_pinv(self, y: Tensor) -> Tensor:
        rows, columns = self._sides("inverse", y)
        return rows @ y @ columns.t()

    @override
    def to_spectrum(self, x: Tensor) -> Tensor:
        rows, columns = self._sides("vt", x)
        return rows @ x @ columns.t()

    @override
    def from_spectrum(self, z: Tensor) -> Tensor:
        rows, columns = self._sides("vt", z)
        return rows.t() @ z @ columns

    @override
    def measured_spectrum(self, y: Tensor) -> Tensor:
        rows, columns = self._sides("u", y)
        z = rows.t() @ y @ columns
        height, width = (len(part.s) for part in self.parts)
        full = y.new_zeros(*y.shape[:2], height, width)
        h, w = min(z.shape[-2], height), min(z.shape[-1], width)
        full[..., :h, :w] = z[..., :h, :w]
        return full * (self.singular_values(full) > 0)

    @override
    def measurement(self, z: Tensor) -> Tensor:
        rows, columns = self._sides("u", z)
        h, w = min(len(rows), z.shape[-2]), min(len(columns), z.shape[-1])
        return rows[:, :h] @ z[..., :h, :w] @ columns[:, :w].t()

    def singular_values(self, like: Tensor) -> Tensor:
        """The products of those of both matrices."""
        return torch.outer(*self._sides("s", like))


def bicubic_matrix(size: int, factor: int) -> Tensor:
    """(size / factor, size) in float64: MATLAB-like antialiased bicubic down-sampling, borders mirrored."""
    if size % factor:
        raise ConfigError(f"bicubic down-sampling by {factor} needs a side that is a multiple of it, not {size}.")
    matrix = torch.zeros(size // factor, size, dtype=torch.float64)
    for row in range(size // factor):
        centre = (row + 0.5) * factor - 0.5
        places = torch.arange(math.floor(centre - 2 * factor), math.ceil(centre + 2 * factor) + 1)
        weights = _cubic((places - centre) / factor)
        mirrored = places % (2 * size)
        mirrored = torch.where(mirrored >= size, 2 * size - 1 - mirrored, mirrored)
        matrix[row].index_add_(0, mirrored, weights / weights.sum())
    return matrix


def _cubic(x: Tensor, a: float = -0.5) -> Tensor:
    """Keys's cubic kernel."""
    x = x.abs().double()
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0))


@OPERATORS.register_module()
class BicubicDownsampling(SeparableOperator, Downsampling):
    """Antialiased bicubic down-sampling of pictures of one size.

    Args:
        factor: By which sides become smaller.
        height: Height of the pictures, a multiple of the factor.
        width: Width of the pictures, a multiple of the factor.
        threshold: As in `SeparableOperator`.
    """

    def __init__(self, factor: int, height: int, width: int, threshold: float = LEAST_VALUE) -> None:
        super().__init__(bicubic_matrix(height, factor), bicubic_matrix(width, factor), threshold)
