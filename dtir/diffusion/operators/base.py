"""What a degradation offers to training-free guidance."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable

import torch
from torch import Tensor
from typing_extensions import override

# Singular values below this share of the largest are taken as 0, as DDRM does: their inverse would be all noise.
LEAST_VALUE = 3e-2


class Operator(ABC):
    """A degradation A of pictures x (B, C, H, W), differentiable, on the centred domain [-1, 1]."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Hashable, Tensor]] = {}

    @abstractmethod
    def A(self, x: Tensor) -> Tensor:  # noqa: N802 as in the field
        """Measurements of pictures (B, C, H, W)."""

    @classmethod
    def fitting_size(cls, height: int, width: int, /, **settings: object) -> tuple[int, int]:
        """Height and width of the largest picture within those given that an operator of such settings can measure."""
        return height, width

    @classmethod
    def picture_size(cls, height: int, width: int, /, **settings: object) -> tuple[int, int]:
        """Height and width of the pictures whose measurements, seen as pictures, have those given."""
        return height, width

    def y_as_picture(self, y: Tensor) -> Tensor:
        """Measurements as pictures (B, 3, h, w), centred."""
        return y

    def y_from_picture(self, picture: Tensor) -> Tensor:
        """Measurements that pictures (B, 3, h, w), centred, show.

        Raises:
            ConfigError: The measurements are no picture.
        """
        return picture

    def _constant(self, name: str, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """What `make` gives for a key; only that of the last key is kept.

        A constant is so made, or copied to a device, once in a run and not in each of its steps.
        """
        if name not in self._kept or self._kept[name][0] != key:
            # A tensor made in inference mode could not be used under DPS's gradient later.
            with torch.inference_mode(False):
                self._kept[name] = (key, make())
        return self._kept[name][1]

    def _like(self, name: str, value: Tensor, like: Tensor) -> Tensor:
        """A constant of the operator with the type and on the device of `like`."""
        return self._constant(name, (like.dtype, like.device), lambda: value.to(like))


class LinearOperator(Operator):
    """A linear map A with its adjoint and pseudo-inverse.

    `A A_pinv A = A`, and `<A x, y> = <x, At y>`. Values are in whatever domain x is; A has no offset.
    """

    @abstractmethod
    def At(self, y: Tensor) -> Tensor:  # noqa: N802 as in the field
        """The adjoint: from measurements to (B, C, H, W)."""

    @abstractmethod
    def A_pinv(self, y: Tensor) -> Tensor:  # noqa: N802 as in the field
        """The Moore-Penrose pseudo-inverse: from measurements to (B, C, H, W)."""

    def project(self, x: Tensor) -> Tensor:
        """`A_pinv A x`: the part of x that the measurements determine."""
        return self.A_pinv(self.A(x))


class SpectralOperator(LinearOperator):
    """A linear map with a singular value decomposition `A = U S V^T`, V orthogonal (Kawar et al., DDRM, NeurIPS 2022).

    A subclass gives `to_spectrum` (V^T), its inverse, and the measurements' side (U^T and U), all in coefficients of
    the picture's own shape: a coefficient whose singular value is 0 is not measured, and is 0 in U^T y.
    """

    @abstractmethod
    def to_spectrum(self, x: Tensor) -> Tensor:
        """`V^T x`, of the shape of x."""

    @abstractmethod
    def from_spectrum(self, z: Tensor) -> Tensor:
        """`V z`."""

    @abstractmethod
    def measured_spectrum(self, y: Tensor) -> Tensor:
        """`U^T y`, of the shape of the picture, 0 where nothing is measured."""

    @abstractmethod
    def measurement(self, z: Tensor) -> Tensor:
        """`U z` of coefficients that are 0 where nothing is measured."""

    @abstractmethod
    def singular_values(self, like: Tensor) -> Tensor:
        """S, that broadcasts with pictures like `like`, not negative."""

    @override
    def A(self, x: Tensor) -> Tensor:
        return self.measurement(self.singular_values(x) * self.to_spectrum(x))

    @override
    def At(self, y: Tensor) -> Tensor:
        z = self.measured_spectrum(y)
        return self.from_spectrum(self.singular_values(z) * z)

    @override
    def A_pinv(self, y: Tensor) -> Tensor:
        z = self.measured_spectrum(y)
        return self.from_spectrum(z * inverse_or_zero(self.singular_values(z)))


def straight_through(x: Tensor, value: Tensor) -> Tensor:
    """`value`, to the last bit, with the gradient of x: for what is rounded or clipped, whose own gradient is 0."""
    return value.detach() + (x - x.detach())


def inverse_or_zero(s: Tensor) -> Tensor:
    """1 / s, and 0 where s is 0.

    Example:
        >>> inverse_or_zero(torch.tensor([4.0, 0.0]))
        tensor([0.2500, 0.0000])
    """
    return (1 / s).where(s > 0, s.new_zeros(()))


def orthogonal_basis(n: int) -> Tensor:
    """An orthogonal matrix (n, n) in float64 whose first row is constant (a Householder reflection)."""
    ones = torch.full((n,), n**-0.5, dtype=torch.float64)
    normal = ones.clone()
    normal[0] -= 1
    length = normal.norm()
    if length == 0:
        return torch.eye(n, dtype=torch.float64)
    normal = normal / length
    return torch.eye(n, dtype=torch.float64) - 2 * torch.outer(normal, normal)
