"""Backbones: pure image-to-image networks, one file each."""

from .nafnet import NAFNet, NAFNetLocal
from .restormer import Restormer

__all__ = ["NAFNet", "NAFNetLocal", "Restormer"]
