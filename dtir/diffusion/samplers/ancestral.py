"""Ancestral sampling of DDPM (Ho et al. 2020)."""

import torch
from torch import Tensor

from dtir.diffusion.samplers.base import StepSampler, gaussian_like
from dtir.diffusion.schedulers.base import Scheduler
from dtir.registry import SAMPLERS


@SAMPLERS.register_module()
class AncestralSampler(StepSampler):
    """Ho et al. 2020, Algorithm 2: draws from q(x_prev | x_t, x_0) with x_0 predicted; no noise in the last step."""

    def step(
        self,
        scheduler: Scheduler,
        x_t: Tensor,
        eps: Tensor,
        t: int,
        t_prev: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Goes from step t to t_prev by one draw from the posterior (its mean where t_prev is 0)."""
        mean, variance = scheduler.posterior(x_t, scheduler.x0_from_eps(x_t, eps, t), t, t_prev)
        return mean if t_prev == 0 else mean + variance.sqrt() * gaussian_like(x_t, generator)
