"""Running a training: runner, loops, hooks, optimisers, checkpoints."""

from .hooks import *  # noqa: F403
from .loops import RecordedTestLoop, StagedTrainLoop
from .optim import StagedOptimWrapper
from .runner import StagedRunner

__all__ = ["RecordedTestLoop", "StagedOptimWrapper", "StagedRunner", "StagedTrainLoop"]
