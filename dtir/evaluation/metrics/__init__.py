"""Metrics: a functional core and thin classes for mmengine's evaluator."""

from .base import PictureMetric
from .fidelity import MAE, PSNR, SSIM, InputPSNR
from .iqa import IQA
from .lpips import LPIPS
from .niqe import NIQE

__all__ = ["IQA", "LPIPS", "MAE", "NIQE", "PSNR", "SSIM", "InputPSNR", "PictureMetric"]
