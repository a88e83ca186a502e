"""Networks, conditioning, adapters, losses and restorers; importing this fills their registries."""

from . import adapters, backbones, codecs, losses
from .conditioning import ConditionedNetwork, OwnTimeNetwork, TimeEmbedding
from .data_preprocessor import RestorationDataPreprocessor
from .extension import ExtendedNetwork
from .folding import FixedStep
from .restorers import (
    BridgeRestorer,
    ClassifyingRestorer,
    ConditionalConsistencyRestorer,
    ConditionalDiffusionRestorer,
    ConsistencyRestorer,
    DACLIPRestorer,
    DiffusionRestorer,
    FeatureWrappingRestorer,
    GlanceClassifier,
    LatentAutoencoderRestorer,
    Restorer,
    SamplingRestorer,
    SupervisedRestorer,
    TaskClassifier,
)

__all__ = [
    "BridgeRestorer",
    "ClassifyingRestorer",
    "ConditionalConsistencyRestorer",
    "ConditionalDiffusionRestorer",
    "ConditionedNetwork",
    "ConsistencyRestorer",
    "DACLIPRestorer",
    "DiffusionRestorer",
    "ExtendedNetwork",
    "FeatureWrappingRestorer",
    "FixedStep",
    "GlanceClassifier",
    "LatentAutoencoderRestorer",
    "OwnTimeNetwork",
    "RestorationDataPreprocessor",
    "Restorer",
    "SamplingRestorer",
    "SupervisedRestorer",
    "TaskClassifier",
    "TimeEmbedding",
    "adapters",
    "backbones",
    "codecs",
    "losses",
]
