"""Linear degradations: inpainting, colourisation, super-resolution, blur and compressed sensing.

Registered in `OPERATORS`; each has a singular value decomposition (Kawar et al., "Denoising Diffusion Restoration
Models", NeurIPS 2022, appendix D).
"""

import math

import torch
from torch import Tensor

from dtir.diffusion.operators.base import SpectralOperator
from dtir.registry import OPERATORS
from dtir.utils.errors import ConfigError

# Singular values below this share of the largest are taken as 0, as DDRM does: their inverse would be all noise.
LEAST_VALUE = 3e-2


@OPERATORS.register_module()
class Inpainting(SpectralOperator):
    """Keeps the pixels where the mask is 1; the others are 0 in y, which has the picture's shape.

    Args:
        mask: (H, W), (1, H, W) or (B, 1, H, W), 1 to keep.
    """

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask = mask

    def to_spectrum(self, x: Tensor) -> Tensor:
        """As `SpectralOperator.to_spectrum`: the pixels themselves."""
        return x

    from_spectrum = to_spectrum

    def measured_spectrum(self, y: Tensor) -> Tensor:
        """As `SpectralOperator.measured_spectrum`."""
        return y * self.singular_values(y)

    def measurement(self, z: Tensor) -> Tensor:
        """As `SpectralOperator.measurement`."""
        return z

    def singular_values(self, like: Tensor) -> Tensor:
        """The mask."""
        return self._like("mask", self.mask, like)


def _first_basis(n: int) -> Tensor:
    """An orthogonal matrix (n, n) in float64 whose first row is constant (a Householder reflection)."""
    ones = torch.full((n,), n**-0.5, dtype=torch.float64)
    normal = ones.clone()
    normal[0] -= 1
    length = normal.norm()
    if length == 0:
        return torch.eye(n, dtype=torch.float64)
    normal = normal / length
    return torch.eye(n, dtype=torch.float64) - 2 * torch.outer(normal, normal)


@OPERATORS.register_module()
class Colorization(SpectralOperator):
    """The mean of the three channels: y is (B, 1, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.basis = _first_basis(3)
        self.values = torch.tensor([3**-0.5, 0, 0], dtype=torch.float64).view(1, 3, 1, 1)

    def to_spectrum(self, x: Tensor) -> Tensor:
        """As `SpectralOperator.to_spectrum`; the first channel is the measured one."""
        return torch.einsum("ij,bjhw->bihw", self._like("basis", self.basis, x), x)

    def from_spectrum(self, z: Tensor) -> Tensor:
        """As `SpectralOperator.from_spectrum`."""
        return torch.einsum("ij,bihw->bjhw", self._like("basis", self.basis, z), z)

    def measured_spectrum(self, y: Tensor) -> Tensor:
        """As `SpectralOperator.measured_spectrum`."""
        return torch.cat([y, y.new_zeros(len(y), 2, *y.shape[2:])], 1)

    def measurement(self, z: Tensor) -> Tensor:
        """As `SpectralOperator.measurement`."""
        return z[:, :1]

    def singular_values(self, like: Tensor) -> Tensor:
        """`1 / sqrt(3)` for the mean, 0 for the rest."""
        return self._like("values", self.values, like)


@OPERATORS.register_module()
class AverageDownsampling(SpectralOperator):
    """The mean of each block of `factor` x `factor` pixels: y is (B, C, H / factor, W / factor).

    Args:
        factor: Side of the blocks.
    """

    def __init__(self, factor: int) -> None:
        if factor < 1:
            raise ConfigError(f"AverageDownsampling: factor={factor} must be at least 1.")
        super().__init__()
        self.factor, self.basis = factor, _first_basis(factor**2)

    def to_spectrum(self, x: Tensor) -> Tensor:
        """As `SpectralOperator.to_spectrum`; the first coefficient of each block is the measured one.

        Raises:
            ConfigError: Height or width is not a multiple of the factor.
        """
        if x.shape[-1] % self.factor or x.shape[-2] % self.factor:
            raise ConfigError(
                f"AverageDownsampling: pictures of {x.shape[-2]} x {x.shape[-1]} pixels are not made of blocks of "
                f"factor={self.factor}; crop them."
            )
        return self._turn(x, self._like("basis", self.basis, x))

    def from_spectrum(self, z: Tensor) -> Tensor:
        """As `SpectralOperator.from_spectrum`."""
        return self._turn(z, self._like("basis", self.basis, z).t())

    def _turn(self, x: Tensor, matrix: Tensor) -> Tensor:
        f, (batch, channels, height, width) = self.factor, x.shape
        blocks = x.reshape(batch, channels, height // f, f, width // f, f).transpose(3, 4).flatten(4)
        turned = (blocks @ matrix.t()).unflatten(4, (f, f)).transpose(3, 4)
        return turned.reshape(x.shape)

    def measured_spectrum(self, y: Tensor) -> Tensor:
        """As `SpectralOperator.measured_spectrum`."""
        z = y.new_zeros(*y.shape[:2], y.shape[2] * self.factor, y.shape[3] * self.factor)
        z[..., :: self.factor, :: self.factor] = y
        return z

    def measurement(self, z: Tensor) -> Tensor:
        """As `SpectralOperator.measurement`."""
        return z[..., :: self.factor, :: self.factor]

    def singular_values(self, like: Tensor) -> Tensor:
        """`1 / factor` for the means, 0 for the rest."""
        s = like.new_zeros(1, 1, *like.shape[2:])
        s[..., :: self.factor, :: self.factor] = 1 / self.factor
        return s


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
        self.parts = []
        for matrix in (rows, columns):
            u, s, vt = torch.linalg.svd(matrix.double(), full_matrices=True)
            full = torch.zeros(matrix.shape[1], dtype=s.dtype)
            full[: len(s)] = torch.where(s < threshold * s.max(), 0, s)
            self.parts.append((u, full, vt))

    def _sides(self, which: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """One factor of the decomposition (0 for U, 1 for S, 2 for V^T) of the rows and of the columns."""
        rows, columns = (part[which] for part in self.parts)
        return self._like(f"rows{which}", rows, like), self._like(f"columns{which}", columns, like)

    def to_spectrum(self, x: Tensor) -> Tensor:
        """As `SpectralOperator.to_spectrum`."""
        rows, columns = self._sides(2, x)
        return rows @ x @ columns.t()

    def from_spectrum(self, z: Tensor) -> Tensor:
        """As `SpectralOperator.from_spectrum`."""
        rows, columns = self._sides(2, z)
        return rows.t() @ z @ columns

    def measured_spectrum(self, y: Tensor) -> Tensor:
        """As `SpectralOperator.measured_spectrum`."""
        rows, columns = self._sides(0, y)
        z = rows.t() @ y @ columns
        height, width = (len(part[1]) for part in self.parts)
        full = y.new_zeros(*y.shape[:2], height, width)
        h, w = min(z.shape[-2], height), min(z.shape[-1], width)
        full[..., :h, :w] = z[..., :h, :w]
        return full * (self.singular_values(full) > 0)

    def measurement(self, z: Tensor) -> Tensor:
        """As `SpectralOperator.measurement`."""
        rows, columns = self._sides(0, z)
        h, w = min(len(rows), z.shape[-2]), min(len(columns), z.shape[-1])
        return rows[:, :h] @ z[..., :h, :w] @ columns[:, :w].t()

    def singular_values(self, like: Tensor) -> Tensor:
        """The products of those of both matrices."""
        return torch.outer(*self._sides(1, like))


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
class BicubicDownsampling(SeparableOperator):
    """Antialiased bicubic down-sampling of pictures of one size.

    Args:
        factor: By which sides become smaller.
        height: Of the pictures, a multiple of the factor.
        width: Of the pictures, a multiple of the factor.
        threshold: As in `SeparableOperator`.
    """

    def __init__(self, factor: int, height: int, width: int, threshold: float = LEAST_VALUE) -> None:
        super().__init__(bicubic_matrix(height, factor), bicubic_matrix(width, factor), threshold)


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

    def to_spectrum(self, x: Tensor) -> Tensor:
        """As `SpectralOperator.to_spectrum`: the Hartley transform, which is orthogonal and real."""
        f = torch.fft.fft2(x, norm="ortho")
        return f.real - f.imag

    # It is its own inverse.
    from_spectrum = to_spectrum

    def measured_spectrum(self, y: Tensor) -> Tensor:
        """As `SpectralOperator.measured_spectrum`."""
        z = self.to_spectrum(self._turned(y, -1))
        return z * (self.singular_values(z) > 0)

    def measurement(self, z: Tensor) -> Tensor:
        """As `SpectralOperator.measurement`."""
        return self._turned(self.from_spectrum(z), 1)

    def _turned(self, x: Tensor, direction: int) -> Tensor:
        """Every frequency turned by the kernel's phase."""
        phase = self._constant("phase", (x.shape[-2:], x.dtype, x.device), lambda: self._phase(x))
        return torch.fft.ifft2(torch.fft.fft2(x) * (phase if direction > 0 else phase.conj())).real

    def _phase(self, like: Tensor) -> Tensor:
        angle = self._transfer(*like.shape[-2:]).angle()
        return torch.polar(torch.ones_like(angle), angle).to(like.device, like.dtype.to_complex())

    def singular_values(self, like: Tensor) -> Tensor:
        """The moduli of the transfer function, small ones as 0."""
        return self._constant("values", (like.shape[-2:], like.dtype, like.device), lambda: self._moduli(like))

    def _moduli(self, like: Tensor) -> Tensor:
        s = self._transfer(*like.shape[-2:]).abs()
        return torch.where(s < self.threshold * s.max(), 0, s).to(like)


def gaussian_kernel(sigma: float, side: int = 9) -> Tensor:
    """(side, side), sums to 1."""
    distance = torch.arange(side, dtype=torch.float64) - side // 2
    line = torch.exp(-distance.square() / (2 * sigma**2))
    kernel = torch.outer(line, line)
    return kernel / kernel.sum()


def motion_kernel(length: int, angle: float, side: int = 15) -> Tensor:
    """(side, side), sums to 1: a line of `length` pixels at `angle` degrees, counter-clockwise from the right."""
    place = torch.linspace(-(length - 1) / 2, (length - 1) / 2, 16 * length, dtype=torch.float64)
    rows = side // 2 - place * math.sin(math.radians(angle))
    columns = side // 2 + place * math.cos(math.radians(angle))
    kernel = torch.zeros(side, side, dtype=torch.float64)
    kernel.index_put_((rows.round().long(), columns.round().long()), torch.ones_like(place), accumulate=True)
    return kernel / kernel.sum()


@OPERATORS.register_module()
class WalshHadamard(SpectralOperator):
    """Compressed sensing: some of the Walsh-Hadamard coefficients of each channel, its pixels shuffled first.

    Measurements are (B, C, m).

    Args:
        height: Of the pictures; height times width is a power of 2.
        width: Of the pictures.
        ratio: Share of the coefficients that are measured, in (0, 1].
        seed: Of the shuffling and the choice.

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
        self.kept = torch.randperm(n, generator=generator)[: max(1, round(ratio * n))]

    def _on_device(self, name: str, like: Tensor) -> Tensor:
        return self._constant(name, like.device, lambda: getattr(self, name).to(like.device))

    def to_spectrum(self, x: Tensor) -> Tensor:
        """As `SpectralOperator.to_spectrum`."""
        return _hadamard(x.flatten(2)[..., self._on_device("order", x)]).view(x.shape)

    def from_spectrum(self, z: Tensor) -> Tensor:
        """As `SpectralOperator.from_spectrum`."""
        out = torch.empty_like(z).flatten(2)
        out[..., self._on_device("order", z)] = _hadamard(z.flatten(2))
        return out.view(z.shape)

    def measured_spectrum(self, y: Tensor) -> Tensor:
        """As `SpectralOperator.measured_spectrum`."""
        z = y.new_zeros(*y.shape[:2], self.shape[0] * self.shape[1])
        z[..., self._on_device("kept", y)] = y
        return z.unflatten(2, self.shape)

    def measurement(self, z: Tensor) -> Tensor:
        """As `SpectralOperator.measurement`."""
        return z.flatten(2)[..., self._on_device("kept", z)]

    def singular_values(self, like: Tensor) -> Tensor:
        """1 for the measured coefficients, else 0."""
        key = (like.dtype, like.device)
        return self._constant("values", key, lambda: self.measured_spectrum(like.new_ones(1, 1, len(self.kept))))


def _hadamard(x: Tensor) -> Tensor:
    """The orthonormal Walsh-Hadamard transform along the last axis, whose length is a power of 2."""
    n = x.shape[-1]
    for bit in range(n.bit_length() - 1):
        pairs = x.unflatten(-1, (-1, 2, 2**bit))
        x = torch.stack([pairs[..., 0, :] + pairs[..., 1, :], pairs[..., 0, :] - pairs[..., 1, :]], -2).flatten(-3)
    return x / n**0.5
