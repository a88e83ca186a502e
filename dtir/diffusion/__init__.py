"""Diffusion: forward processes, reverse processes, and the generative objective."""

from dtir.diffusion.domain import IMAGE_SCALE, to_centred, to_image
from dtir.diffusion.objectives import generative_pair
from dtir.diffusion.samplers import AncestralSampler, DDIMSampler, Sampler, SampleResult
from dtir.diffusion.schedulers import DDPMScheduler, Scheduler

__all__ = [
    "IMAGE_SCALE",
    "AncestralSampler",
    "DDIMSampler",
    "DDPMScheduler",
    "SampleResult",
    "Sampler",
    "Scheduler",
    "generative_pair",
    "to_centred",
    "to_image",
]
