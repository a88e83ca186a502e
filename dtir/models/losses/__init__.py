"""Losses."""

from .pixel import CharbonnierLoss, L1Loss, L2Loss, PixelLoss, PSNRLoss

__all__ = ["CharbonnierLoss", "L1Loss", "L2Loss", "PSNRLoss", "PixelLoss"]
