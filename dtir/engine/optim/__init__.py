"""Learning-rate schedules and the optimiser wrapper."""

from .constructor import StagedOptimWrapperConstructor
from .schedule import learning_rate
from .wrapper import StagedOptimWrapper

__all__ = ["StagedOptimWrapper", "StagedOptimWrapperConstructor", "learning_rate"]
