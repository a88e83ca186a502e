"""Using trained and published checkpoints from Python."""

from dtir.apis.folder import RestoreReport
from dtir.apis.guided import GuidedRestorer
from dtir.apis.inferencer import RestorationInferencer
from dtir.apis.published import load_backbone

__all__ = ["GuidedRestorer", "RestorationInferencer", "RestoreReport", "load_backbone"]
