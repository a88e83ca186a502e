"""Losses."""

from .frequency import FFTLoss
from .pixel import CharbonnierLoss, L1Loss, L2Loss, PixelLoss, PSNRLoss
from .structural import SSIMLoss
from .weighted import WeightedLosses

__all__ = [
    "CharbonnierLoss",
    "FFTLoss",
    "L1Loss",
    "L2Loss",
    "PSNRLoss",
    "PixelLoss",
    "SSIMLoss",
    "WeightedLosses",
]
