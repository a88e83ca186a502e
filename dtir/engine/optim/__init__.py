"""Learning-rate schedules and the optimiser wrapper."""

from .schedule import learning_rate
from .wrapper import StagedOptimWrapper

__all__ = ["StagedOptimWrapper", "learning_rate"]
