"""Using trained checkpoints from Python."""

from dtir.apis.folder import RestoreReport
from dtir.apis.inferencer import RestorationInferencer

__all__ = ["RestorationInferencer", "RestoreReport"]
