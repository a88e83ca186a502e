"""Networks, conditioning, adapters, losses and restorers; importing this fills their registries."""

from . import adapters, backbones, losses
from .adapters.folding import FixedStep
from .conditioning import ConditionedNetwork, TimeEmbedding
from .data_preprocessor import RestorationDataPreprocessor
from .restorers import DiffusionRestorer, Restorer, SupervisedRestorer

__all__ = [
    "ConditionedNetwork",
    "DiffusionRestorer",
    "FixedStep",
    "RestorationDataPreprocessor",
    "Restorer",
    "SupervisedRestorer",
    "TimeEmbedding",
    "adapters",
    "backbones",
    "losses",
]
