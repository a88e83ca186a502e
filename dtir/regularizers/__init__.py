"""Regularizers of generalisation-enhanced fine-tuning (docs/method.md, section 3)."""

from .anchored import AnchoredPenalty
from .base import Regularizer
from .expert_balance import ExpertBalance
from .importance import ParameterImportance
from .layer_decay import LayerDecay
from .orthogonality import OrthogonalityLoss, OrthogonalProjection
from .released import ReleasedImportance, ReleasedOrthogonality

__all__ = [
    "AnchoredPenalty",
    "ExpertBalance",
    "LayerDecay",
    "OrthogonalProjection",
    "OrthogonalityLoss",
    "ParameterImportance",
    "Regularizer",
    "ReleasedImportance",
    "ReleasedOrthogonality",
]
