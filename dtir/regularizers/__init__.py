"""Regularizers of generalisation-enhanced fine-tuning (method.md 3)."""

from .base import Regularizer

__all__ = ["Regularizer"]
