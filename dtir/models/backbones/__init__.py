"""Backbones: pure image-to-image networks, one file each."""

from .airnet import AirNet
from .conditional_nafnet import ConditionalNAFNet, DenoisingNAFNet
from .conditional_unet import ConditionalUNet, DenoisingUNet
from .daclip_unet import DACLIPUNet
from .dehazeformer import DehazeFormer
from .diffuir_unet import UnetRes
from .dtir_unet import DTIRUNet
from .enlightengan import EnlightenGAN
from .griddehazenet import GateHazeNet
from .latent_unet import LatentUNet
from .maxim import MAXIM
from .mirnet import MIRNet
from .mprnet import MPRNet
from .nafnet import NAFNet, NAFNetLocal
from .prenet import PRN, PReNet, PReNet_GRU, PReNet_r, PRN_r
from .promptir import PromptIR, RAMPromptIR
from .ram_swinir import RAMSwinIR
from .resshift_unet import UNetModelSwin
from .restormer import Restormer
from .uretinex import URetinexNet
from .x_restormer import XRestormer

__all__ = [
    "MAXIM",
    "PRN",
    "AirNet",
    "ConditionalNAFNet",
    "ConditionalUNet",
    "DACLIPUNet",
    "DTIRUNet",
    "DehazeFormer",
    "DenoisingNAFNet",
    "DenoisingUNet",
    "EnlightenGAN",
    "GateHazeNet",
    "LatentUNet",
    "MIRNet",
    "MPRNet",
    "NAFNet",
    "NAFNetLocal",
    "PRN_r",
    "PReNet",
    "PReNet_GRU",
    "PReNet_r",
    "PromptIR",
    "RAMPromptIR",
    "RAMSwinIR",
    "Restormer",
    "UNetModelSwin",
    "URetinexNet",
    "UnetRes",
    "XRestormer",
]
