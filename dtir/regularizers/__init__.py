"""Regularizers of generalisation-enhanced fine-tuning (method.md 3)."""

from .base import Regularizer
from .importance import ParameterImportance
from .layer_decay import LayerDecay
from .orthogonality import OrthogonalityLoss, OrthogonalProjection

__all__ = ["LayerDecay", "OrthogonalProjection", "OrthogonalityLoss", "ParameterImportance", "Regularizer"]
