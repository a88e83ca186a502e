"""Training and test loops."""

from .recorded_test_loop import RecordedTestLoop
from .staged_train_loop import StagedTrainLoop

__all__ = ["RecordedTestLoop", "StagedTrainLoop"]
