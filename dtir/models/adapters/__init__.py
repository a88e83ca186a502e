"""Adapters that the conditioning attaches to a backbone's blocks."""

from .base import Adapter

__all__ = ["Adapter"]
