"""Backbones: pure image-to-image networks, one file each."""

from .nafnet import NAFNet, NAFNetLocal
from .promptir import PromptIR, RAMPromptIR
from .restormer import Restormer
from .x_restormer import XRestormer

__all__ = ["NAFNet", "NAFNetLocal", "PromptIR", "RAMPromptIR", "Restormer", "XRestormer"]
