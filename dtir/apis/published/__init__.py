"""Published checkpoints: which network one belongs to, and how it is loaded."""

from typing import TYPE_CHECKING

from dtir.core.lazy import lazy_names

if TYPE_CHECKING:
    from dtir.apis.published.loading import load_backbone

__all__ = ["load_backbone"]

_PLACES = {
    "load_backbone": "dtir.apis.published.loading",
}

__getattr__ = lazy_names(__name__, _PLACES)
