"""Every process with each of its samplers, and every guidance, with a network that costs nothing."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from dtir.diffusion import guidance, operators, samplers, schedulers
from dtir.diffusion.guidance.base import Guidance
from dtir.diffusion.operators import Operator
from dtir.diffusion.samplers import Sampler, SampleResult
from dtir.diffusion.samplers.bridges import BridgeSampler
from dtir.diffusion.schedulers import Bridge, Scheduler

# Runs so many steps.
Run = Callable[[int], SampleResult]


class SamplingCase(NamedTuple):
    """One combination.

    Attributes:
        process: Name of the forward process.
        sampler: Name of the sampler, or of the guidance and the operator.
        prepare: Gives a run on a device, for pictures (1, 3, height, width): `prepare(device, height, width)`.
    """

    process: str
    sampler: str
    prepare: Callable[[str, int, int], Run]


def free_network(x: Tensor, t: Tensor) -> Tensor:
    """The state itself in place of a prediction; a view, and differentiable."""
    return x.view_as(x)


def sampling_cases(num_timesteps: int = 1000) -> Iterator[SamplingCase]:
    """All combinations, on processes of so many steps (odd ones less one for I2SB, whose interval is even).

    Args:
        num_timesteps: T.
    """
    t = num_timesteps
    ddpm = schedulers.DDPMScheduler(t, train_timesteps=t)
    exploding = (schedulers.EEDTPScheduler(t), schedulers.EDMScheduler(t), schedulers.VESDE(N=t))
    for process in (ddpm, schedulers.VPSDE(N=t), *exploding):
        for name, sampler in _noise_samplers(isinstance(process, schedulers.SDEScheduler)).items():
            yield SamplingCase(type(process).__name__, name, _noise_run(process, sampler))
    for process, names in _bridges(t):
        for name in names:
            yield SamplingCase(type(process).__name__, name, _bridge_run(process, getattr(samplers, name)()))
    for name, make_operator, make_guidance in _guidance():
        yield SamplingCase("DDPMScheduler", name, _guided_run(ddpm, make_operator, make_guidance))


def _noise_samplers(has_equation: bool) -> dict[str, Sampler]:
    names = ["AncestralSampler", "DDIMSampler", "HeunSampler", "DPMSolverPP2M", "UniPCSampler"]
    if has_equation:
        names += ["EulerMaruyamaSampler", "PredictorCorrectorSampler", "ProbabilityFlowSampler"]
    found = {name: getattr(samplers, name)() for name in names}
    return found | {"DDIMSampler, eta 1": samplers.DDIMSampler(eta=1.0)}


def _bridges(t: int) -> list[tuple[Bridge, tuple[str, ...]]]:
    equation = ("PosteriorSampler", "ReverseSDESampler", "ReverseODESampler", "ImplicitSampler")
    return [
        (schedulers.IRSDE(50, T=t), equation),
        (schedulers.DenoisingSDE(50, T=t), equation),
        (schedulers.GOUB(50, T=t), equation),
        (schedulers.I2SB(interval=t + t % 2, beta_max=0.3 * (t + 1) / 1000), ("PosteriorSampler", "ImplicitSampler")),
        (schedulers.DDBM("ve", t), ("PosteriorSampler", "DDBMSampler", "ImplicitSampler")),
        (schedulers.ResShift(t), ("PosteriorSampler", "ImplicitSampler", "ConsistencySampler")),
        (schedulers.ResidualDiffusion(t), ("ResidualSampler", "PosteriorSampler")),
        (schedulers.InDI(t), ("PosteriorSampler", "ColdSampler")),
        (schedulers.ColdDiffusion(t), ("ColdSampler",)),
        (schedulers.RectifiedFlow(t), ("PosteriorSampler", "FlowHeunSampler")),
    ]


MakeOperator = Callable[[int, int], Operator]
MakeGuidance = Callable[[Operator, Tensor], Guidance]

LINEAR: dict[str, MakeOperator] = {
    "bicubic": lambda h, w: operators.BicubicDownsampling(4, h, w),
    "average": lambda h, w: operators.AverageDownsampling(4),
    "inpainting": operators.RandomInpainting,
    "colorization": lambda h, w: operators.Colorization(),
    "blur": lambda h, w: operators.CircularGaussianBlur(2.0),
    "sensing": lambda h, w: operators.WalshHadamard(h, w, 0.5),
}
NONLINEAR: dict[str, MakeOperator] = {
    "JPEG": lambda h, w: operators.JPEG(20),
    "HDR": lambda h, w: operators.HDR(),
    "light": lambda h, w: operators.GammaBlur(),
}


def _guidance() -> Iterator[tuple[str, MakeOperator, MakeGuidance]]:
    for kind in ("ILVR", "DDNM", "DDRM", "DPS", "MCG", "PiGDM", "DiffPIR", "REDDiff"):
        yield f"{kind}, bicubic", LINEAR["bicubic"], getattr(guidance, kind)
    yield "RePaint, inpainting", LINEAR["inpainting"], lambda operator, y: guidance.RePaint(operator, y, 2)
    yield "DAPS, bicubic", LINEAR["bicubic"], lambda operator, y: guidance.DAPS(operator, y, 0.1, langevin_steps=None)
    yield "DAPS, HDR", NONLINEAR["HDR"], lambda operator, y: guidance.DAPS(operator, y, 0.1, langevin_steps=4)
    yield "DiffPIR, HDR", NONLINEAR["HDR"], lambda operator, y: guidance.DiffPIR(operator, y, 0.1)
    for name, make in LINEAR.items():
        yield f"DDNM+, {name}", make, lambda operator, y: guidance.DDNM(operator, y, 0.1)
    for name, make in NONLINEAR.items():
        yield f"DPS, {name}", make, guidance.DPS


def _noise_run(process: Scheduler, sampler: Sampler) -> Callable[[str, int, int], Run]:
    def prepare(device: str, height: int, width: int) -> Run:
        x = torch.randn(1, 3, height, width, device=device)
        return lambda steps: sampler.sample(free_network, process.to(device), x, num_steps=steps)

    return prepare


def _bridge_run(process: Bridge, sampler: BridgeSampler) -> Callable[[str, int, int], Run]:
    def prepare(device: str, height: int, width: int) -> Run:
        mu = torch.rand(1, 3, height, width, device=device)
        return lambda steps: sampler.sample(free_network, process.to(device), mu, num_steps=steps)

    return prepare


def _guided_run(process: Scheduler, operator: MakeOperator, kind: MakeGuidance) -> Callable[[str, int, int], Run]:
    def prepare(device: str, height: int, width: int) -> Run:
        x = torch.randn(1, 3, height, width, device=device)
        degradation = operator(height, width)
        guided = kind(degradation, degradation.A(x))
        return lambda steps: guided.sample(free_network, process.to(device), x, num_steps=steps)

    return prepare
