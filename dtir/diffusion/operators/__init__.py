"""Degradations as operators, for training-free guidance, registered in `OPERATORS`."""

from dtir.diffusion.operators.base import LinearOperator, Operator, SpectralOperator
from dtir.diffusion.operators.blur import (
    CircularBlur,
    CircularGaussianBlur,
    CircularMotionBlur,
    gaussian_kernel,
    motion_kernel,
)
from dtir.diffusion.operators.jpeg import JPEG
from dtir.diffusion.operators.nonlinear import HDR, GammaBlur
from dtir.diffusion.operators.pixels import BoxInpainting, Colorization, FileInpainting, Inpainting, RandomInpainting
from dtir.diffusion.operators.resampling import AverageDownsampling, BicubicDownsampling, SeparableOperator
from dtir.diffusion.operators.sensing import WalshHadamard

__all__ = [
    "HDR",
    "JPEG",
    "AverageDownsampling",
    "BicubicDownsampling",
    "BoxInpainting",
    "CircularBlur",
    "CircularGaussianBlur",
    "CircularMotionBlur",
    "Colorization",
    "FileInpainting",
    "GammaBlur",
    "Inpainting",
    "LinearOperator",
    "Operator",
    "RandomInpainting",
    "SeparableOperator",
    "SpectralOperator",
    "WalshHadamard",
    "gaussian_kernel",
    "motion_kernel",
]
