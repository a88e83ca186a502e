"""dtir: diffusion-trained image restoration."""

from typing import TYPE_CHECKING

from .core.lazy import lazy_names
from .core.moved import find_moved_modules
from .version import __version__

if TYPE_CHECKING:
    from .apis.inferencer import RestorationInferencer
    from .apis.shortcut import restore

__all__ = ["RestorationInferencer", "__version__", "restore"]

__getattr__ = lazy_names(__name__, {"RestorationInferencer": "dtir.apis.inferencer", "restore": "dtir.apis.shortcut"})

find_moved_modules()
