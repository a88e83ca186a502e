"""Restorers: objectives to losses and predictions."""

from .base import Restorer
from .diffusion_restorer import DiffusionRestorer
from .supervised_restorer import SupervisedRestorer

__all__ = ["DiffusionRestorer", "Restorer", "SupervisedRestorer"]
