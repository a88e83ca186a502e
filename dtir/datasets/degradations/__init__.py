"""The ten synthetic degradations, and those of generative restoration."""

from .base import Degradation
from .camera import CameraJPEG, CameraNoise, SceneBlur, UnderExposure
from .compound import Compound, NoDamage
from .occlusion import CastShadow, InpaintingMask, Shadow
from .optics import GaussianNoise, JPEGCompression, LowLight, MotionBlur
from .recorded import RecordedHaze, RecordedRain
from .removal import BicubicDownsampling, Greyscale, Uncropping
from .video import VideoBlur
from .weather import Haze, LensDrops, Raindrops, RainStreaks, Snow

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
    "CameraJPEG",
    "CameraNoise",
    "CastShadow",
    "Compound",
    "Degradation",
    "GaussianNoise",
    "Greyscale",
    "Haze",
    "InpaintingMask",
    "JPEGCompression",
    "LensDrops",
    "LowLight",
    "MotionBlur",
    "NoDamage",
    "RainStreaks",
    "Raindrops",
    "RecordedHaze",
    "RecordedRain",
    "SceneBlur",
    "Shadow",
    "Snow",
    "Uncropping",
    "UnderExposure",
    "VideoBlur",
]
