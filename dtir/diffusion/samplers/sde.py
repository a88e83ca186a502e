"""Stochastic samplers of score-based models (Song et al., ICLR 2021)."""

import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.samplers.base import OneStepSampler, Run, StepSampler, gaussian_like
from dtir.diffusion.schedulers.base import Scheduler
from dtir.diffusion.schedulers.score_sde import SDEScheduler
from dtir.registry import SAMPLERS


def equation_of(scheduler: Scheduler, sampler: str) -> SDEScheduler:
    """The scheduler, if it is given by a differential equation.

    Raises:
        ConfigError: It is not.
    """
    if isinstance(scheduler, SDEScheduler):
        return scheduler
    raise ConfigError(
        f"{sampler} needs a process given by a differential equation, VPSDE or VESDE; {type(scheduler).__name__} is "
        "none. AncestralSampler, DDIMSampler, HeunSampler and DPMSolverPP2M take any process."
    )


@SAMPLERS.register_module()
class EulerMaruyamaSampler(StepSampler):
    """Euler-Maruyama steps of the reverse equation `dx = (f x - g^2 score) dt + g dW`, the last one without noise."""

    @override
    def step(
        self,
        scheduler: Scheduler,
        x_t: Tensor,
        eps: Tensor,
        t: int,
        t_prev: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        f, squared, dt = equation_of(scheduler, type(self).__name__).equation(t, t_prev)
        mean = x_t - (f * x_t - squared * scheduler.score_from_eps(eps, t)) * dt
        return mean if t_prev == 0 else mean + (squared * dt).sqrt() * gaussian_like(x_t, generator)


@SAMPLERS.register_module()
class PredictorCorrectorSampler(OneStepSampler):
    """Euler-Maruyama steps, each followed by Langevin steps at the level reached (Algorithms 2 and 3 of the paper).

    Args:
        snr: Signal-to-noise ratio of the Langevin steps.
        corrections: Langevin steps per step.
    """

    def __init__(self, snr: float = 0.16, corrections: int = 1) -> None:
        self.snr, self.corrections = snr, corrections
        self.predictor = EulerMaruyamaSampler()

    @override
    def advance(self, run: Run, x: Tensor, t: int, t_prev: int) -> Tensor:
        """There is nothing to correct at the end."""
        x = self.predictor.advance(run, x, t, t_prev)
        if t_prev == 0:
            return x
        a, _ = run.scheduler.marginal(t_prev)
        kept = a / run.scheduler.marginal(t_prev - 1)[0]
        for _ in range(self.corrections):
            score = run.scheduler.score_from_eps(run.eps(x, t_prev), t_prev)
            noise = gaussian_like(x, run.generator)
            ratio = self.snr * noise.flatten(1).norm(dim=1).mean() / score.flatten(1).norm(dim=1).mean()
            size = 2 * kept**2 * ratio**2
            x = x + size * score + (2 * size).sqrt() * noise
        return x
