"""Restorers: objectives to losses and predictions."""

from .base import Restorer
from .conditional_diffusion import ConditionalDiffusionRestorer
from .diffusion_restorer import DiffusionRestorer
from .draws import BatchDraws
from .sampling import SamplingRestorer
from .supervised_restorer import SupervisedRestorer

__all__ = [
    "BatchDraws",
    "ConditionalDiffusionRestorer",
    "DiffusionRestorer",
    "Restorer",
    "SamplingRestorer",
    "SupervisedRestorer",
]
