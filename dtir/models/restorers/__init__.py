"""Restorers: objectives to losses and predictions."""

from .base import Restorer
from .bridge_restorer import BridgeRestorer
from .classifying import ClassifyingRestorer
from .conditional_diffusion import ConditionalDiffusionRestorer
from .consistency import ConditionalConsistencyRestorer, ConsistencyRestorer
from .daclip_restorer import DACLIPRestorer
from .diffusion_restorer import DiffusionRestorer
from .draws import BatchDraws
from .feature_wrapping import FeatureWrappingRestorer
from .latent_autoencoder import LatentAutoencoderRestorer
from .sampling import SamplingRestorer
from .supervised_restorer import SupervisedRestorer
from .task_classifier import GlanceClassifier, TaskClassifier

__all__ = [
    "BatchDraws",
    "BridgeRestorer",
    "ClassifyingRestorer",
    "ConditionalConsistencyRestorer",
    "ConditionalDiffusionRestorer",
    "ConsistencyRestorer",
    "DACLIPRestorer",
    "DiffusionRestorer",
    "FeatureWrappingRestorer",
    "GlanceClassifier",
    "LatentAutoencoderRestorer",
    "Restorer",
    "SamplingRestorer",
    "SupervisedRestorer",
    "TaskClassifier",
]
