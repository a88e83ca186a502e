"""Reverse processes, registered in `SAMPLERS`."""

from dtir.diffusion.samplers.ancestral import AncestralSampler
from dtir.diffusion.samplers.base import Denoiser, Sampler, SampleResult, gaussian_like
from dtir.diffusion.samplers.bridges import (
    BridgeSampler,
    ColdSampler,
    PosteriorSampler,
    ResidualSampler,
    ReverseODESampler,
    ReverseSDESampler,
)
from dtir.diffusion.samplers.ddim import DDIMSampler

__all__ = [
    "AncestralSampler",
    "BridgeSampler",
    "ColdSampler",
    "DDIMSampler",
    "Denoiser",
    "PosteriorSampler",
    "ResidualSampler",
    "ReverseODESampler",
    "ReverseSDESampler",
    "SampleResult",
    "Sampler",
    "gaussian_like",
]
