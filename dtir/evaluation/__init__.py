"""Measuring and reporting: protocols, metrics, tables and pictures."""

from .metrics import IQA, LPIPS, MAE, NIQE, PSNR, SSIM, InputPSNR, PictureMetric
from .metrics.protocols import PROTOCOLS, Protocol, get_protocol

__all__ = [
    "IQA",
    "LPIPS",
    "MAE",
    "NIQE",
    "PROTOCOLS",
    "PSNR",
    "SSIM",
    "InputPSNR",
    "PictureMetric",
    "Protocol",
    "get_protocol",
]
