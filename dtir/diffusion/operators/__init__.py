"""Degradations as operators, for training-free guidance, registered in `OPERATORS`."""

from dtir.diffusion.operators.base import LinearOperator, Operator, SpectralOperator
from dtir.diffusion.operators.jpeg import JPEG
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
from dtir.diffusion.operators.nonlinear import HDR, GammaBlur

__all__ = [
    "HDR",
    "JPEG",
    "AverageDownsampling",
    "BicubicDownsampling",
    "CircularBlur",
    "Colorization",
    "GammaBlur",
    "Inpainting",
    "LinearOperator",
    "Operator",
    "SeparableOperator",
    "SpectralOperator",
    "WalshHadamard",
    "gaussian_kernel",
    "motion_kernel",
]
