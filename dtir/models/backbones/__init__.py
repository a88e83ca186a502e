"""Backbones: pure networks, one file each.

`image` holds those from picture to picture, `conditional` those of diffusion processes, `parts` what they share.
"""

from .conditional.adm_unet import UNetModel
from .conditional.conditional_nafnet import ConditionalNAFNet, DenoisingNAFNet, LatentConditionalNAFNet
from .conditional.conditional_unet import ConditionalUNet, DenoisingUNet
from .conditional.daclip_unet import DACLIPUNet
from .conditional.diffuir_unet import UnetRes
from .conditional.eedtp import EEDTPRestorationNet
from .conditional.instructir import InstructIR
from .conditional.resshift_unet import UNetModelSwin
from .conditional.stablesr import StableSR
from .conditional.stablesr_encoder import EncoderUNetModelWT
from .conditional.stablesr_unet import UNetModelDualcondV2
from .image.airnet import AirNet
from .image.dehazeformer import DehazeFormer
from .image.dtir_unet import DTIRUNet
from .image.enlightengan import EnlightenGAN
from .image.griddehazenet import GateHazeNet
from .image.latent_unet import LatentUNet
from .image.maxim import MAXIM
from .image.mirnet import MIRNet
from .image.mprnet import MPRNet
from .image.nafnet import NAFNet, NAFNetLocal
from .image.prenet import PRN, PReNet, PReNet_GRU, PReNet_r, PRN_r
from .image.promptir import PromptIR, RAMPromptIR
from .image.ram_swinir import RAMSwinIR
from .image.restormer import Restormer
from .image.uretinex import URetinexNet
from .image.x_restormer import XRestormer

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
    "EEDTPRestorationNet",
    "EncoderUNetModelWT",
    "EnlightenGAN",
    "GateHazeNet",
    "InstructIR",
    "LatentConditionalNAFNet",
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
    "StableSR",
    "UNetModel",
    "UNetModelDualcondV2",
    "UNetModelSwin",
    "URetinexNet",
    "UnetRes",
    "XRestormer",
]
