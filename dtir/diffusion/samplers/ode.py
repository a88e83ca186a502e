"""Solvers of the probability-flow equation.

With `y = x / a` and `rho = sigma / a` it is `dy/drho = eps` for every Gaussian process; DDIM is its Euler step.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from dtir.diffusion.samplers.base import OneStepSampler, Run, Sampler, StepSampler
from dtir.diffusion.samplers.sde import equation_of
from dtir.diffusion.schedulers.base import Scheduler
from dtir.registry import SAMPLERS


@SAMPLERS.register_module()
class ProbabilityFlowSampler(StepSampler):
    """Euler steps in time, `dx = (f x - g^2 score / 2) dt` (Song et al., ICLR 2021)."""

    def step(
        self,
        scheduler: Scheduler,
        x_t: Tensor,
        eps: Tensor,
        t: int,
        t_prev: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """As `StepSampler.step`."""
        f, squared, dt = equation_of(scheduler, type(self).__name__).equation(t, t_prev)
        return x_t - (f * x_t - 0.5 * squared * scheduler.score_from_eps(eps, t)) * dt


@SAMPLERS.register_module()
class HeunSampler(OneStepSampler):
    """Heun's second-order steps in rho (Karras et al., NeurIPS 2022, without noise); the last one is Euler's."""

    def advance(self, run: Run, x: Tensor, t: int, t_prev: int) -> Tensor:
        """As `OneStepSampler.advance`."""
        (a, sigma), (a_prev, sigma_prev) = run.scheduler.marginal(t), run.scheduler.marginal(t_prev)
        length = sigma_prev / a_prev - sigma / a
        slope = run.eps(x, t)
        ahead = a_prev * (x / a + length * slope)
        if t_prev == 0:
            return ahead
        return a_prev * (x / a + length * (slope + run.eps(ahead, t_prev)) / 2)


@SAMPLERS.register_module()
class DPMSolverPP2M(Sampler):
    """DPM-Solver++(2M) (Lu et al., 2022): second order with one evaluation per step, from the last two predictions."""

    def states(self, run: Run, x: Tensor, path: Sequence[int]) -> Iterator[Tensor]:
        """As `Sampler.states`; the first and the last step are of first order."""
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
