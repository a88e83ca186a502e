"""Backbones: pure image-to-image networks, one file each."""

from .nafnet import NAFNet, NAFNetLocal

__all__ = ["NAFNet", "NAFNetLocal"]
