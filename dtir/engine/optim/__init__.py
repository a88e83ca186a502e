"""Learning-rate schedules and the optimiser wrapper."""

from .by_package import prodigy, schedule_free_adamw
from .constructor import StagedOptimWrapperConstructor
from .muon import MuonAdamW
from .schedule import learning_rate
from .wrapper import StagedOptimWrapper

__all__ = [
    "MuonAdamW",
    "StagedOptimWrapper",
    "StagedOptimWrapperConstructor",
    "learning_rate",
    "prodigy",
    "schedule_free_adamw",
]
