"""Losses."""

from .edge import EdgeLoss
from .frequency import FFTLoss
from .perceptual import PerceptualLoss
from .pixel import CharbonnierLoss, L1Loss, L2Loss, PixelLoss, PSNRLoss
from .samples import per_sample
from .structural import SSIMLoss
from .weighted import WeightedLosses

__all__ = [
    "CharbonnierLoss",
    "EdgeLoss",
    "FFTLoss",
    "L1Loss",
    "L2Loss",
    "PSNRLoss",
    "PerceptualLoss",
    "PixelLoss",
    "SSIMLoss",
    "WeightedLosses",
    "per_sample",
]
