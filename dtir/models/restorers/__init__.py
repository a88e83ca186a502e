"""Restorers: objectives to losses and predictions."""

from .diffusion_restorer import DiffusionRestorer

__all__ = ["DiffusionRestorer"]
