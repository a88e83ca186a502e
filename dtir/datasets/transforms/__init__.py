"""Transforms of (LQ, GT) pairs of uint8 pictures; every random number comes from the sample's own generator."""

from .colour import RandomRecolor
from .degrade import Degrade, DegradeAgain, ThickenHaze
from .drawing import DrawPicture
from .formatting import PackPair
from .geometry import CenterCropPair, RandomCropPair, RandomFlipPair, RandomFlipRotate, ShrinkPair
from .grounds import DrawGround
from .loading import LoadClean, LoadPair, PictureCache, shared_cache
from .thumbnail import RandomThumbnail

__all__ = [
    "CenterCropPair",
    "Degrade",
    "DegradeAgain",
    "DrawGround",
    "DrawPicture",
    "LoadClean",
    "LoadPair",
    "PackPair",
    "PictureCache",
    "RandomCropPair",
    "RandomFlipPair",
    "RandomFlipRotate",
    "RandomRecolor",
    "RandomThumbnail",
    "ShrinkPair",
    "ThickenHaze",
    "shared_cache",
]
