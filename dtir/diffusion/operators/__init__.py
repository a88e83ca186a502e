"""Degradations as operators, for training-free guidance, registered in `OPERATORS`."""

from dtir.diffusion.operators.base import LinearOperator, SpectralOperator
from dtir.diffusion.operators.linear import (
    AverageDownsampling,
    BicubicDownsampling,
    CircularBlur,
    Colorization,
    Inpainting,
    SeparableOperator,
    WalshHadamard,
    gaussian_kernel,
    motion_kernel,
)

__all__ = [
    "AverageDownsampling",
    "BicubicDownsampling",
    "CircularBlur",
    "Colorization",
    "Inpainting",
    "LinearOperator",
    "SeparableOperator",
    "SpectralOperator",
    "WalshHadamard",
    "gaussian_kernel",
    "motion_kernel",
]
