"""Metrics: a functional core and thin classes for mmengine's evaluator."""

from .base import PictureMetric
from .fidelity import MAE, PSNR, SSIM, InputPSNR
from .lpips import LPIPS
from .niqe import NIQE

__all__ = ["LPIPS", "MAE", "NIQE", "PSNR", "SSIM", "InputPSNR", "PictureMetric"]
