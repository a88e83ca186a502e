"""JPEG as a differentiable operator."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.domain import to_centred, to_image
from dtir.diffusion.operators.base import Operator, straight_through
from dtir.registry import OPERATORS

PEAK = 255
BLOCK = 8

# ITU-T T.81, tables K.1 and K.2.
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
# Chroma pixels per luma pixel along each side.
SUBSAMPLINGS = {"4:4:4": 1, "4:2:0": 2}


def quantisation_table(standard: tuple[tuple[int, ...], ...], quality: int) -> Tensor:
    """(8, 8) in float64: a standard table scaled to a quality as libjpeg does, whole numbers in 1..255."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    scaled = (torch.tensor(standard) * percent + 50).div(100, rounding_mode="floor")
    return scaled.clamp(1, PEAK).double()


def cosine_matrix(n: int = BLOCK) -> Tensor:
    """(n, n) in float64: the orthonormal discrete cosine transform (type II), frequencies along the rows."""
    k, i = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    matrix = torch.cos(math.pi * (2 * i + 1) * k / (2 * n)) * (2 / n) ** 0.5
    matrix[0] /= 2**0.5
    return matrix


def luma_matrix() -> Tensor:
    """(3, 3) in float64: RGB to Y, Cb, Cr (JFIF), chroma around 0."""
    red, blue = 0.299, 0.114
    y = torch.tensor([red, 1 - red - blue, blue], dtype=torch.float64)
    r, _, b = torch.eye(3, dtype=torch.float64)
    return torch.stack([y, (b - y) / (2 * (1 - blue)), (r - y) / (2 * (1 - red))])


@OPERATORS.register_module()
class JPEG(Operator):
    """JPEG compression: y is the decoded picture (B, 3, H, W), centred.

    The forward pass rounds the planes and quantises their coefficients as a codec does; the gradient passes through
    the rounding as if there were none. Unlike libjpeg it neither rounds nor clips what it decodes, and it repeats
    subsampled chroma where libjpeg interpolates. On a photograph it differs from OpenCV's JPEG by about 1 level of 255
    (root mean square) for "4:4:4" and 2 for "4:2:0", against 4 to 15 between JPEG of quality 75 to 5 and the original.
    `A(A(x)) = A(x)` up to about quality 75; above, where steps are as small as the rounding of the planes, up to 0.2.

    Args:
        quality: libjpeg's, 1 to 100.
        subsampling: "4:2:0" (chroma at half the sides, the usual) or "4:4:4".

    Raises:
        ConfigError: An argument is none of these.
    """

    def __init__(self, quality: int, subsampling: str = "4:2:0") -> None:
        if not 1 <= quality <= 100 or subsampling not in SUBSAMPLINGS:
            raise ConfigError(
                f"JPEG: quality={quality} must be in 1..100, and subsampling='{subsampling}' one of "
                f"{', '.join(SUBSAMPLINGS)}."
            )
        super().__init__()
        self.factor = SUBSAMPLINGS[subsampling]
        self.size_multiple = BLOCK * self.factor
        self.luma = luma_matrix()
        # Of a block in one row of 64 numbers.
        self.cosines = torch.kron(cosine_matrix(), cosine_matrix())
        self.tables = [quantisation_table(table, quality).flatten() for table in (LUMINANCE, CHROMINANCE)]

    def A(self, x: Tensor) -> Tensor:  # noqa: N802 as in the field
        """As `Operator.A`.

        Raises:
            ConfigError: Height or width is not a multiple of 8, or of 16 for "4:2:0".
        """
        if x.shape[-2] % self.size_multiple or x.shape[-1] % self.size_multiple:
            raise ConfigError(
                f"JPEG: pictures of {x.shape[-2]} x {x.shape[-1]} pixels are not made of blocks of "
                f"{self.size_multiple} x {self.size_multiple}; crop them."
            )
        matrix = self._like("luma", self.luma, x)
        planes = _rounded(torch.einsum("ij,bjhw->bihw", matrix, to_image(x) * PEAK))
        y, chroma = planes.split([1, 2], dim=1)
        # The level shift: half the range, so that the mean coefficient is around 0.
        y = self._quantised(y - (PEAK + 1) / 2, 0) + (PEAK + 1) / 2
        chroma = self._quantised(_rounded(F.avg_pool2d(chroma, self.factor)), 1)
        decoded = torch.cat([y, F.interpolate(chroma, scale_factor=self.factor)], dim=1)
        inverse = self._constant("rgb", (x.dtype, x.device), lambda: self.luma.inverse().to(x))
        return to_centred(torch.einsum("ij,bjhw->bihw", inverse, decoded) / PEAK)

    @classmethod
    @override
    def fitting_size(cls, height: int, width: int, /, **settings: object) -> tuple[int, int]:
        """Whole blocks."""
        side = BLOCK * SUBSAMPLINGS[settings.get("subsampling", "4:2:0")]
        return height // side * side, width // side * side

    def _quantised(self, x: Tensor, which: int) -> Tensor:
        """Planes (B, C, h, w) after quantisation of their blocks' cosine coefficients by one of the tables."""
        cosines = self._like("cosines", self.cosines, x)
        table = self._like(f"table{which}", self.tables[which], x)
        blocks = x.unflatten(3, (-1, BLOCK)).unflatten(2, (-1, BLOCK)).transpose(3, 4)
        steps = blocks.flatten(4) @ cosines.t() / table
        blocks = ((_rounded(steps) * table) @ cosines).unflatten(4, (BLOCK, BLOCK))
        return blocks.transpose(3, 4).reshape(x.shape)


def _rounded(x: Tensor) -> Tensor:
    return straight_through(x, x.round())
