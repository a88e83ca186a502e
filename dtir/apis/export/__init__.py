"""Models as files of other runtimes, and restorers that those compute."""

from typing import TYPE_CHECKING

from dtir.core.lazy import lazy_names

if TYPE_CHECKING:
    from dtir.apis.export.writing import export_model

__all__ = ["export_model"]

_PLACES = {
    "export_model": "dtir.apis.export.writing",
}

__getattr__ = lazy_names(__name__, _PLACES)
