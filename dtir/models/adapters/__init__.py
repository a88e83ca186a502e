"""Adapters that the conditioning attaches to a backbone's blocks."""

from .base import Adapter
from .moe import MoEAdapter

__all__ = ["Adapter", "MoEAdapter"]
