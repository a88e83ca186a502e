"""Codecs: from pictures to what a diffusion runs on, and back."""

from .autoencoders import AutoencoderKL, AutoencoderKLResi, VQModel
from .base import Codec
from .building import build_codec
from .colour_fix import adaptive_instance_normalization, wavelet_reconstruction
from .diffusers_codec import DiffusersCodec
from .feature_wrapping import Decoder_Mix
from .identity import CentredCodec, ImageCodec
from .latent_unet import LatentUNetCodec
from .ldm_networks import Decoder, Encoder

__all__ = [
    "AutoencoderKL",
    "AutoencoderKLResi",
    "CentredCodec",
    "Codec",
    "Decoder",
    "Decoder_Mix",
    "DiffusersCodec",
    "Encoder",
    "ImageCodec",
    "LatentUNetCodec",
    "VQModel",
    "adaptive_instance_normalization",
    "build_codec",
    "wavelet_reconstruction",
]
