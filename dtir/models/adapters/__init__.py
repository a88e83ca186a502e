"""Adapters that the conditioning attaches to a backbone's blocks."""

from .base import Adapter, ParallelAdapter
from .moe import MixtureOfExperts, MoEAdapter, ParallelMoEAdapter

__all__ = ["Adapter", "MixtureOfExperts", "MoEAdapter", "ParallelAdapter", "ParallelMoEAdapter"]
