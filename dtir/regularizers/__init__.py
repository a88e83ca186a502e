"""Regularizers of generalisation-enhanced fine-tuning (method.md 3)."""

from .base import Regularizer
from .expert_balance import ExpertBalance
from .importance import ParameterImportance
from .layer_decay import LayerDecay
from .orthogonality import OrthogonalityLoss, OrthogonalProjection
from .released import ReleasedImportance, ReleasedOrthogonality

__all__ = [
    "ExpertBalance",
    "LayerDecay",
    "OrthogonalProjection",
    "OrthogonalityLoss",
    "ParameterImportance",
    "Regularizer",
    "ReleasedImportance",
    "ReleasedOrthogonality",
]
