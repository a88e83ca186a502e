"""Running a training: runner, loops, hooks, optimisers, checkpoints."""

from .hooks import *  # noqa: F403
from .loops import RecordedTestLoop, StagedTrainLoop
from .optim import StagedOptimWrapper
from .runner import StagedRunner
from .smoke import SmokeHook

__all__ = ["RecordedTestLoop", "SmokeHook", "StagedOptimWrapper", "StagedRunner", "StagedTrainLoop"]
