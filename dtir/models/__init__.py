"""Networks, conditioning, adapters, losses and restorers; importing this fills their registries."""

from . import adapters, backbones, losses
from .conditioning import ConditionedNetwork, TimeEmbedding
from .data_preprocessor import RestorationDataPreprocessor
from .restorers import DiffusionRestorer

__all__ = [
    "ConditionedNetwork",
    "DiffusionRestorer",
    "RestorationDataPreprocessor",
    "TimeEmbedding",
    "adapters",
    "backbones",
    "losses",
]
