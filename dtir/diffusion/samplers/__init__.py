"""Reverse processes, registered in `SAMPLERS`."""

from dtir.diffusion.samplers.ancestral import AncestralSampler
from dtir.diffusion.samplers.base import Denoiser, OneStepSampler, Sampler, SampleResult, StepSampler, gaussian_like
from dtir.diffusion.samplers.bridges import (
    BridgeSampler,
    ColdSampler,
    ConsistencySampler,
    FlowHeunSampler,
    ImplicitSampler,
    PosteriorSampler,
    ResidualSampler,
    ReverseODESampler,
    ReverseSDESampler,
)
from dtir.diffusion.samplers.ddbm import DDBMSampler
from dtir.diffusion.samplers.ddim import DDIMSampler
from dtir.diffusion.samplers.ode import DPMSolverPP2M, HeunSampler, ProbabilityFlowSampler
from dtir.diffusion.samplers.sde import EulerMaruyamaSampler, PredictorCorrectorSampler
from dtir.diffusion.samplers.unipc import UniPCSampler

__all__ = [
    "AncestralSampler",
    "BridgeSampler",
    "ColdSampler",
    "ConsistencySampler",
    "DDBMSampler",
    "DDIMSampler",
    "DPMSolverPP2M",
    "Denoiser",
    "EulerMaruyamaSampler",
    "FlowHeunSampler",
    "HeunSampler",
    "ImplicitSampler",
    "OneStepSampler",
    "PosteriorSampler",
    "PredictorCorrectorSampler",
    "ProbabilityFlowSampler",
    "ResidualSampler",
    "ReverseODESampler",
    "ReverseSDESampler",
    "SampleResult",
    "Sampler",
    "StepSampler",
    "UniPCSampler",
    "gaussian_like",
]
