"""The ten synthetic degradations, and those of generative restoration."""

from .base import Degradation
from .occlusion import InpaintingMask, Shadow
from .optics import GaussianNoise, JPEGCompression, LowLight, MotionBlur
from .removal import BicubicDownsampling, Greyscale, Uncropping
from .weather import Haze, Raindrops, RainStreaks, Snow

TASK_DEGRADATIONS = {
    "motion-blurry": "MotionBlur",
    "hazy": "Haze",
    "jpeg-compressed": "JPEGCompression",
    "low-light": "LowLight",
    "noisy": "GaussianNoise",
    "raindrop": "Raindrops",
    "rainy": "RainStreaks",
    "shadowed": "Shadow",
    "snowy": "Snow",
    "inpainting": "InpaintingMask",
}

__all__ = [
    "TASK_DEGRADATIONS",
    "BicubicDownsampling",
    "Degradation",
    "GaussianNoise",
    "Greyscale",
    "Haze",
    "InpaintingMask",
    "JPEGCompression",
    "LowLight",
    "MotionBlur",
    "RainStreaks",
    "Raindrops",
    "Shadow",
    "Snow",
    "Uncropping",
]
