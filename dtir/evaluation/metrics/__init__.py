"""Metrics: a functional core and thin classes for mmengine's evaluator."""

from .base import PictureMetric
from .fidelity import PSNR, SSIM, InputPSNR
from .lpips import LPIPS

__all__ = ["LPIPS", "PSNR", "SSIM", "InputPSNR", "PictureMetric"]
