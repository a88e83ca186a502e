"""Codecs: from pictures to what a diffusion runs on, and back."""

from .feature_wrapping import Decoder_Mix
from .ldm_networks import Decoder, Encoder

__all__ = ["Decoder", "Decoder_Mix", "Encoder"]
