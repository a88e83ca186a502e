"""Adapters that the conditioning attaches to a backbone's blocks."""

from .base import Adapter, ParallelAdapter
from .moe import MixtureOfExperts, MoEAdapter, ParallelMoEAdapter, draw_router_noise

__all__ = [
    "Adapter",
    "MixtureOfExperts",
    "MoEAdapter",
    "ParallelAdapter",
    "ParallelMoEAdapter",
    "draw_router_noise",
]
