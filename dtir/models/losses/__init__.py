"""Losses."""

from .pixel import CharbonnierLoss, L1Loss, L2Loss, PixelLoss, PSNRLoss
from .structural import SSIMLoss

__all__ = ["CharbonnierLoss", "L1Loss", "L2Loss", "PSNRLoss", "PixelLoss", "SSIMLoss"]
