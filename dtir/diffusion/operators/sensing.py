"""Compressed sensing as an operator."""

import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.operators.base import SpectralOperator
from dtir.registry import OPERATORS


@OPERATORS.register_module()
class WalshHadamard(SpectralOperator):
    """Compressed sensing: some of the Walsh-Hadamard coefficients of each channel, its pixels shuffled first.

    Measurements are (B, C, m).

    Args:
        height: Height of the pictures; height times width is a power of 2.
        width: Width of the pictures.
        ratio: Share of the coefficients that are measured, in (0, 1].
        seed: Seed of the shuffling and the choice.

    Raises:
        ConfigError: The number of pixels is no power of 2, or `ratio` is outside (0, 1].
    """

    def __init__(self, height: int, width: int, ratio: float, seed: int = 0) -> None:
        n = height * width
        if n & (n - 1) or not 0 < ratio <= 1:
            raise ConfigError(
                f"WalshHadamard: {height} x {width} pixels must be a power of 2, and ratio={ratio} in (0, 1]."
            )
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.shape = height, width
        self.order = torch.randperm(n, generator=generator)
        self.back = self.order.argsort()
        self.kept = torch.randperm(n, generator=generator)[: max(1, round(ratio * n))]
        # The transform of n numbers is that of the three sides of a box that they are laid out in.
        bits = n.bit_length() - 1
        self.factors = [hadamard_matrix(1 << (bits + i) // 3) for i in range(3)]

    def _on_device(self, name: str, like: Tensor) -> Tensor:
        return self._constant(name, like.device, lambda: getattr(self, name).to(like.device))

    def _gathered(self, x: Tensor, name: str) -> Tensor:
        """Entries of x (B, C, n); `gather` is faster on the last axis than the other ways to index."""
        return x.gather(-1, self._on_device(name, x).expand(*x.shape[:2], -1))

    @override
    def to_spectrum(self, x: Tensor) -> Tensor:
        return self._transformed(self._gathered(x.flatten(2), "order")).view(x.shape)

    @override
    def from_spectrum(self, z: Tensor) -> Tensor:
        return self._gathered(self._transformed(z.flatten(2)), "back").view(z.shape)

    def _transformed(self, x: Tensor) -> Tensor:
        """The orthonormal Walsh-Hadamard transform along the last axis, its own inverse."""
        left, middle, right = (self._like(f"factor{i}", factor, x) for i, factor in enumerate(self.factors))
        box = x.unflatten(-1, (len(left), len(middle), len(right)))
        return (left @ (middle @ box @ right).flatten(-2)).flatten(-2)

    @override
    def measured_spectrum(self, y: Tensor) -> Tensor:
        z = y.new_zeros(*y.shape[:2], self.shape[0] * self.shape[1])
        return z.index_copy(-1, self._on_device("kept", y), y).unflatten(2, self.shape)

    @override
    def measurement(self, z: Tensor) -> Tensor:
        return self._gathered(z.flatten(2), "kept")

    def singular_values(self, like: Tensor) -> Tensor:
        """1 for the measured coefficients, else 0."""
        key = (like.dtype, like.device)
        return self._constant("values", key, lambda: self.measured_spectrum(like.new_ones(1, 1, len(self.kept))))

    @classmethod
    @override
    def fitting_size(cls, height: int, width: int, /, **settings: object) -> tuple[int, int]:
        """Powers of 2."""
        return 1 << (height.bit_length() - 1), 1 << (width.bit_length() - 1)

    @override
    def y_as_picture(self, y: Tensor) -> Tensor:
        """The coefficients at their places, 0 where none is measured."""
        return self.measured_spectrum(y)

    @override
    def y_from_picture(self, picture: Tensor) -> Tensor:
        """None."""
        raise ConfigError(
            "WalshHadamard: its measurements are no picture; simulate them from a clean one (dtir guide: --simulate), "
            "or give them to GuidedRestorer.restore."
        )


def hadamard_matrix(n: int) -> Tensor:
    """(n, n) in float64, orthonormal and symmetric, in the natural order; n is a power of 2."""
    matrix = torch.ones(1, 1, dtype=torch.float64)
    pair = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64) / 2**0.5
    while len(matrix) < n:
        matrix = torch.kron(pair, matrix)
    return matrix
