"""Backbones: pure image-to-image networks, one file each."""

from .griddehazenet import GateHazeNet
from .nafnet import NAFNet, NAFNetLocal
from .prenet import PRN, PReNet, PReNet_GRU, PReNet_r, PRN_r
from .promptir import PromptIR, RAMPromptIR
from .restormer import Restormer
from .x_restormer import XRestormer

__all__ = [
    "PRN",
    "GateHazeNet",
    "NAFNet",
    "NAFNetLocal",
    "PRN_r",
    "PReNet",
    "PReNet_GRU",
    "PReNet_r",
    "PromptIR",
    "RAMPromptIR",
    "Restormer",
    "XRestormer",
]
