"""Blur round the border: its decomposition is that of the Fourier transform."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.operators.base import LEAST_VALUE, SpectralOperator, inverse_or_zero
from dtir.registry import OPERATORS


@OPERATORS.register_module()
class CircularBlur(SpectralOperator):
    """Convolution with a kernel, round the border: its singular values are those of the kernel's Fourier transform.

    Coefficients are the real Fourier coefficients, turned by the kernel's phase on the measurements' side.

    Args:
        kernel: (rows, columns), odd sides, such as `gaussian_kernel` or `motion_kernel` give.
        threshold: Share of the largest singular value below which one counts as 0, in A too.
    """

    def __init__(self, kernel: Tensor, threshold: float = LEAST_VALUE) -> None:
        if kernel.ndim != 2 or not all(side % 2 for side in kernel.shape):
            raise ConfigError(f"CircularBlur: a kernel of shape {tuple(kernel.shape)}; two odd sides are needed.")
        super().__init__()
        self.kernel, self.threshold = kernel.double(), threshold

    def _transfer(self, height: int, width: int) -> Tensor:
        """The kernel's transfer function (H, W), complex128, on the CPU."""
        rows, columns = self.kernel.shape
        padded = torch.zeros(height, width, dtype=torch.float64)
        places = (
            (torch.arange(rows) - rows // 2)[:, None] % height,
            (torch.arange(columns) - columns // 2)[None] % width,
        )
        padded.index_put_(places, self.kernel, accumulate=True)
        return torch.fft.fft2(padded)

    @override
    def to_spectrum(self, x: Tensor) -> Tensor:
        """The Hartley transform, which is orthogonal and real."""
        f = torch.fft.fft2(x, norm="ortho")
        return f.real - f.imag

    # It is its own inverse.
    from_spectrum = to_spectrum

    @override
    def measured_spectrum(self, y: Tensor) -> Tensor:
        z = self.to_spectrum(self._filtered(y, "turned back", lambda h: _phase(h).conj()))
        return z * (self.singular_values(z) > 0)

    @override
    def measurement(self, z: Tensor) -> Tensor:
        return self._filtered(self.from_spectrum(z), "turned", _phase)

    # One transform there and back, where the spectrum takes two.

    @override
    def A(self, x: Tensor) -> Tensor:
        return self._filtered(x, "A", self._cut)

    @override
    def At(self, y: Tensor) -> Tensor:
        return self._filtered(y, "At", lambda h: self._cut(h).conj())

    @override
    def A_pinv(self, y: Tensor) -> Tensor:
        return self._filtered(y, "A_pinv", lambda h: _phase(h).conj() * inverse_or_zero(self._cut(h).abs()))

    def _filtered(self, x: Tensor, name: str, make: Callable[[Tensor], Tensor]) -> Tensor:
        """Every frequency times what `make` gives for the transfer function; its name is for keeping it."""
        size = x.shape[-2:]

        def half() -> Tensor:
            return make(self._transfer(*size))[:, : size[1] // 2 + 1].to(x.device, x.dtype.to_complex())

        factor = self._constant(name, (size, x.dtype, x.device), half)
        return torch.fft.irfft2(torch.fft.rfft2(x) * factor, s=size)

    def _cut(self, transfer: Tensor) -> Tensor:
        """The transfer function with its small values as 0."""
        s = transfer.abs()
        return torch.where(s < self.threshold * s.max(), 0, transfer)

    def singular_values(self, like: Tensor) -> Tensor:
        """The moduli of the transfer function, small ones as 0."""
        size = like.shape[-2:]
        return self._constant(
            "s", (size, like.dtype, like.device), lambda: self._cut(self._transfer(*size)).abs().to(like)
        )


def _phase(transfer: Tensor) -> Tensor:
    return torch.polar(torch.ones_like(transfer.real), transfer.angle())


def gaussian_kernel(sigma: float, side: int = 9) -> Tensor:
    """(side, side), sums to 1."""
    distance = torch.arange(side, dtype=torch.float64) - side // 2
    line = torch.exp(-distance.square() / (2 * sigma**2))
    kernel = torch.outer(line, line)
    return kernel / kernel.sum()


def motion_kernel(length: int, angle: float, side: int = 15) -> Tensor:
    """(side, side), sums to 1: a line of `length` pixels at `angle` degrees, counter-clockwise from the right.

    Raises:
        ConfigError: The line is longer than the side.
    """
    if not 1 <= length <= side:
        raise ConfigError(f"motion blur: length={length} must be at least 1 and no more than side={side}.")
    place = torch.linspace(-(length - 1) / 2, (length - 1) / 2, 16 * length, dtype=torch.float64)
    rows = side // 2 - place * math.sin(math.radians(angle))
    columns = side // 2 + place * math.cos(math.radians(angle))
    kernel = torch.zeros(side, side, dtype=torch.float64)
    kernel.index_put_((rows.round().long(), columns.round().long()), torch.ones_like(place), accumulate=True)
    return kernel / kernel.sum()


@OPERATORS.register_module()
class CircularGaussianBlur(CircularBlur):
    """Gaussian blur round the border.

    Args:
        sigma: Standard deviation in pixels.
        side: Side of the kernel in pixels, odd.
        threshold: As in `CircularBlur`.
    """

    def __init__(self, sigma: float, side: int = 9, threshold: float = LEAST_VALUE) -> None:
        super().__init__(gaussian_kernel(sigma, side), threshold)


@OPERATORS.register_module()
class CircularMotionBlur(CircularBlur):
    """Motion blur along a line, round the border.

    Args:
        length: Length of the line in pixels.
        angle: In degrees, counter-clockwise from the right.
        side: Side of the kernel in pixels, odd, at least `length`.
        threshold: As in `CircularBlur`.
    """

    def __init__(self, length: int, angle: float, side: int = 15, threshold: float = LEAST_VALUE) -> None:
        super().__init__(motion_kernel(length, angle, side), threshold)
