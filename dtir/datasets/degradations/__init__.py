"""The ten synthetic degradations."""

from .base import Degradation
from .occlusion import InpaintingMask, Shadow
from .optics import GaussianNoise, JPEGCompression, LowLight, MotionBlur
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
    "Degradation",
    "GaussianNoise",
    "Haze",
    "InpaintingMask",
    "JPEGCompression",
    "LowLight",
    "MotionBlur",
    "RainStreaks",
    "Raindrops",
    "Shadow",
    "Snow",
]
