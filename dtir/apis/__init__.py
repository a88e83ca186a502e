"""Using trained and published checkpoints from Python."""

from typing import TYPE_CHECKING

from dtir.core.lazy import lazy_names

if TYPE_CHECKING:
    from dtir.apis.folder import RestoreReport
    from dtir.apis.guided import GuidedRestorer
    from dtir.apis.inferencer import RestorationInferencer
    from dtir.apis.published import load_backbone

__all__ = ["GuidedRestorer", "RestorationInferencer", "RestoreReport", "load_backbone"]

_PLACES = {
    "GuidedRestorer": "dtir.apis.guided",
    "RestorationInferencer": "dtir.apis.inferencer",
    "RestoreReport": "dtir.apis.folder",
    "load_backbone": "dtir.apis.published",
}

__getattr__ = lazy_names(__name__, _PLACES)
