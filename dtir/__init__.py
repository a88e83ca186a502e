"""dtir: diffusion-trained image restoration."""

from .core.moved import find_moved_modules
from .version import __version__

__all__ = ["__version__"]

find_moved_modules()
