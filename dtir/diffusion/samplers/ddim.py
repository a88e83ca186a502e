"""Denoising diffusion implicit models (Song et al. 2021)."""

import torch
from torch import Tensor

from dtir.core.errors import ConfigError
from dtir.diffusion.samplers.base import StepSampler, gaussian_like
from dtir.diffusion.schedulers.base import Scheduler
from dtir.registry import SAMPLERS


@SAMPLERS.register_module()
class DDIMSampler(StepSampler):
    """Song et al. 2021, Eq. 12 and 16: `x_prev = a_prev x0 + sqrt(sigma_prev^2 - s^2) eps + s z`.

    `s^2` is eta^2 times the variance of the exact posterior.

    Args:
        eta: 0 for the deterministic process, 1 for the variance of DDPM's ancestral sampling, or between.

    Raises:
        ConfigError: eta is outside 0..1.

    Example:
        >>> from dtir.diffusion import DDPMScheduler
        >>> scheduler, x = DDPMScheduler(), torch.ones(1, 3, 4, 4)
        >>> exact = lambda x_t, t: scheduler.eps_from_x0(x_t, 0.5 * x, t)
        >>> result = DDIMSampler().sample(exact, scheduler, x, num_steps=5)
        >>> round(result.sample.mean().item(), 4), result.num_evals
        (0.5, 5)
    """

    def __init__(self, eta: float = 0.0) -> None:
        if not 0 <= eta <= 1:
            raise ConfigError(f"eta={eta} of DDIMSampler must lie in 0..1.")
        self.eta = eta

    def step(
        self,
        scheduler: Scheduler,
        x_t: Tensor,
        eps: Tensor,
        t: int,
        t_prev: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Goes from step t to t_prev; draws noise only for eta > 0 and t_prev > 0."""
        a_prev, sigma_prev = scheduler.marginal(t_prev)
        x0 = scheduler.x0_from_eps(x_t, eps, t)
        if self.eta == 0 or t_prev == 0:
            return a_prev * x0 + sigma_prev * eps
        # Share of the noise at t that was added since t_prev; the posterior variance is sigma_prev^2 times it.
        fresh = self.eta**2 * scheduler.step_variance(t, t_prev) / scheduler.marginal(t)[1] ** 2
        kept = (1 - fresh).clamp(min=0).sqrt()
        return a_prev * x0 + sigma_prev * (kept * eps + fresh.sqrt() * gaussian_like(x_t, generator))
