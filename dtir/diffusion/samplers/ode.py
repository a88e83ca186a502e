"""Solvers of the probability-flow equation.

With `y = x / a` and `rho = sigma / a` it is `dy/drho = eps` for every Gaussian process; DDIM is its Euler step.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.samplers.base import OneStepSampler, Run, Sampler, StepSampler, gaussian_like
from dtir.diffusion.samplers.sde import equation_of
from dtir.diffusion.schedulers.base import Scheduler
from dtir.diffusion.schedulers.edm import EDMScheduler
from dtir.registry import SAMPLERS


@SAMPLERS.register_module()
class ProbabilityFlowSampler(StepSampler):
    """Euler steps in time, `dx = (f x - g^2 score / 2) dt` (Song et al., ICLR 2021)."""

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
        return x_t - (f * x_t - 0.5 * squared * scheduler.score_from_eps(eps, t)) * dt


@SAMPLERS.register_module()
class HeunSampler(OneStepSampler):
    """Heun's second-order steps in rho (Karras et al., NeurIPS 2022, algorithms 1 and 2); the last one is Euler's.

    Args:
        churn: S_churn: before each step the level of noise is raised by so many n-ths in n steps, at most by a share of
            `sqrt(2) - 1`; 0 is the deterministic solver. It needs a process with levels between its steps,
            `EDMScheduler`.
        churn_range: Levels between which it is raised.
        churn_noise: Standard deviation of the noise that raises it, in units of the exact one.

    Raises:
        ConfigError: `churn` is negative.
    """

    def __init__(
        self, churn: float = 0.0, churn_range: tuple[float, float] = (0.0, math.inf), churn_noise: float = 1.0
    ) -> None:
        if churn < 0:
            raise ConfigError(f"HeunSampler: churn={churn} must not be negative.")
        self.churn, self.churn_range, self.churn_noise = churn, churn_range, churn_noise

    def advance(self, run: Run, x: Tensor, t: int, t_prev: int) -> Tensor:
        """As `OneStepSampler.advance`.

        Raises:
            ConfigError: There is churn and the process has no levels between its steps.
        """
        x, t = self._churned(run, x, t)
        (a, sigma), (a_prev, sigma_prev) = run.scheduler.marginal(t), run.scheduler.marginal(t_prev)
        length = sigma_prev / a_prev - sigma / a
        slope = run.eps(x, t)
        ahead = a_prev * (x / a + length * slope)
        if t_prev == 0:
            return ahead
        return a_prev * (x / a + length * (slope + run.eps(ahead, t_prev)) / 2)

    def _churned(self, run: Run, x: Tensor, t: int) -> tuple[Tensor, int | float]:
        """The state with fresh noise, and its level."""
        if not self.churn:
            return x, t
        if not isinstance(run.scheduler, EDMScheduler):
            raise ConfigError(
                f"HeunSampler: churn={self.churn} needs a process with levels between its steps, EDMScheduler; "
                f"{type(run.scheduler).__name__} has none."
            )
        sigma = run.scheduler.levels[t]
        if not self.churn_range[0] <= sigma <= self.churn_range[1]:
            return x, t
        raised = sigma * (1 + min(self.churn / run.num_steps, math.sqrt(2) - 1))
        fresh = self.churn_noise * math.sqrt(raised**2 - sigma**2)
        return x + fresh * gaussian_like(x, run.generator), raised


@SAMPLERS.register_module()
class DPMSolverPP2M(Sampler):
    """DPM-Solver++(2M) (Lu et al., 2022): second order with one evaluation per step, from the last two predictions."""

    @override
    def states(self, run: Run, x: Tensor, path: Sequence[int]) -> Iterator[Tensor]:
        """The first and the last step are of first order."""
        before: tuple[Tensor, Tensor] | None = None
        for t, t_prev in pairwise(path):
            (a, sigma), (a_prev, sigma_prev) = run.scheduler.marginal(t), run.scheduler.marginal(t_prev)
            x0 = run.scheduler.x0_from_eps(x, run.eps(x, t), t)
            if t_prev == 0:
                yield a_prev * x0 + sigma_prev * run.scheduler.eps_from_x0(x, x0, t)
                return
            # Steps of log SNR / 2.
            step = torch.log(a_prev * sigma / (sigma_prev * a))
            estimate = x0
            if before is not None:
                x0_before, step_before = before
                estimate = x0 + (x0 - x0_before) * step / (2 * step_before)
            before = x0, step
            x = sigma_prev / sigma * x - a_prev * torch.expm1(-step) * estimate
            yield x
