"""Backbones: pure image-to-image networks, one file each."""

from .airnet import AirNet
from .conditional_nafnet import ConditionalNAFNet, DenoisingNAFNet
from .conditional_unet import ConditionalUNet, DenoisingUNet
from .daclip_unet import DACLIPUNet
from .diffuir_unet import UnetRes
from .griddehazenet import GateHazeNet
from .nafnet import NAFNet, NAFNetLocal
from .prenet import PRN, PReNet, PReNet_GRU, PReNet_r, PRN_r
from .promptir import PromptIR, RAMPromptIR
from .restormer import Restormer
from .x_restormer import XRestormer

__all__ = [
    "PRN",
    "AirNet",
    "ConditionalNAFNet",
    "ConditionalUNet",
    "DACLIPUNet",
    "DenoisingNAFNet",
    "DenoisingUNet",
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
    "UnetRes",
    "XRestormer",
]
