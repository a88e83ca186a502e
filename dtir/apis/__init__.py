"""Using trained and published checkpoints from Python."""

from typing import TYPE_CHECKING

from dtir.core.lazy import lazy_names

if TYPE_CHECKING:
    from dtir.apis.archive.folder import RestoreReport
    from dtir.apis.guided.restorer import GuidedRestorer
    from dtir.apis.inferencer import RestorationInferencer
    from dtir.apis.published.loading import load_backbone

__all__ = ["GuidedRestorer", "RestorationInferencer", "RestoreReport", "load_backbone"]

_PLACES = {
    "GuidedRestorer": "dtir.apis.guided.restorer",
    "RestorationInferencer": "dtir.apis.inferencer",
    "RestoreReport": "dtir.apis.archive.folder",
    "load_backbone": "dtir.apis.published.loading",
}

__getattr__ = lazy_names(__name__, _PLACES)
