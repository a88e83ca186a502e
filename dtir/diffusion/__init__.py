"""Diffusion: forward processes, reverse processes, and the generative objective."""

from dtir.diffusion.domain import IMAGE_SCALE, to_centred, to_image
from dtir.diffusion.levels import ConditioningLevel, NoiseLevel, TimestepLevel
from dtir.diffusion.matching import MATCHING_METHODS, MatchingCurve, distinct_steps, match_timestep
from dtir.diffusion.objectives import generative_pair
from dtir.diffusion.samplers import AncestralSampler, DDIMSampler, Sampler, SampleResult
from dtir.diffusion.schedulers import DDPMScheduler, Scheduler

__all__ = [
    "IMAGE_SCALE",
    "MATCHING_METHODS",
    "AncestralSampler",
    "ConditioningLevel",
    "DDIMSampler",
    "DDPMScheduler",
    "MatchingCurve",
    "NoiseLevel",
    "SampleResult",
    "Sampler",
    "Scheduler",
    "TimestepLevel",
    "distinct_steps",
    "generative_pair",
    "match_timestep",
    "to_centred",
    "to_image",
]
