"""dtir: diffusion-trained image restoration."""

from .version import __version__

__all__ = ["__version__"]
