"""Guidance whose noise levels are decoupled: each clean picture is drawn given y, and noised anew."""

import math

import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.guidance.base import GuidedSampler, misfit_gradient, noised, x0_variance
from dtir.diffusion.operators import Operator, SpectralOperator
from dtir.diffusion.samplers.base import Run, gaussian_like
from dtir.diffusion.schedulers.base import trailing_steps
from dtir.registry import GUIDANCE


@GUIDANCE.register_module()
class DAPS(GuidedSampler):
    """Decoupled annealing posterior sampling (Zhang et al., CVPR 2025): its Algorithm 1.

    In every step the probability-flow ODE leads from x_t to a clean picture m, x_0 is drawn from
    `N(m, r_t^2) N(y; A(x_0), tau^2)`, and noised to the next step. Draws are by Langevin dynamics
    `x + lr_t grad log p + sqrt(2 lr_t) noise`, from m on, or in closed form for a `SpectralOperator`.

    With independent Gaussian pixels, their standard deviation as `spread`, one step of the ODE (the denoiser's
    prediction, which is then the mean of x_0 given x_t) and draws in closed form, samples are of the posterior exactly,
    in any number of steps. Langevin dynamics have a bias, which falls with a smaller `lr` and more steps.

    Args:
        operator: A, differentiable, not necessarily linear.
        y: Measurements.
        sigma_y: Standard deviation of their noise.
        ode_steps: Steps of the ODE, evaluations of the denoiser in every step.
        langevin_steps: Steps of the dynamics; None for draws in closed form.
        lr: Length of their steps at T. Beyond `2 / (curvature / tau^2 + 1 / r_t^2)` they diverge, the curvature being
            the largest squared singular value of A, or of its Jacobian.
        lr_min_ratio: What is left of it at step 0; it falls linearly.
        tau: Standard deviation that is taken for `sigma_y` in the draws, 0.01 as published; None for `sigma_y`.
        spread: Standard deviation of the data, which bounds r_t as in `PiGDM`; None for `sigma_t / a_t` as published.

    Raises:
        ConfigError: A value is out of its range, there is no closed form, or Langevin dynamics are without noise.
    """

    needs = Operator

    def __init__(
        self,
        operator: Operator,
        y: Tensor,
        sigma_y: float = 0.0,
        ode_steps: int = 5,
        langevin_steps: int | None = 100,
        lr: float = 1e-4,
        lr_min_ratio: float = 0.01,
        tau: float | None = None,
        spread: float | None = None,
    ) -> None:
        super().__init__(operator, y, sigma_y)
        for name, value in (("ode_steps", ode_steps), ("langevin_steps", langevin_steps)):
            if value is not None and value < 1:
                raise ConfigError(f"DAPS: {name}={value} must be at least 1.")
        if langevin_steps is None and not isinstance(operator, SpectralOperator):
            raise ConfigError(
                "DAPS: langevin_steps=None draws in closed form, which needs a SpectralOperator, not "
                f"{type(operator).__name__}; give a number, 100 as published."
            )
        self.tau = sigma_y if tau is None else tau
        if self.tau < 0 or (langevin_steps is not None and self.tau == 0):
            raise ConfigError(
                f"DAPS: tau={self.tau} must be above 0 for Langevin dynamics; give tau=0.01, as published, for "
                "measurements without noise."
            )
        if lr <= 0 or not 0 <= lr_min_ratio <= 1:
            raise ConfigError(f"DAPS: lr={lr} must be above 0, and lr_min_ratio={lr_min_ratio} in 0..1.")
        self.ode_steps, self.langevin_steps, self.spread = ode_steps, langevin_steps, spread
        self.lr, self.lr_min_ratio = lr, lr_min_ratio

    @override
    def advance(self, run: Run, x: Tensor, t: int, t_prev: int) -> Tensor:
        centre, variance = self._ode(run, x, t), x0_variance(run.scheduler, t, self.spread)
        if self.langevin_steps is None:
            x0 = self._drawn(run, centre, variance)
        else:
            done = 1 - t / run.scheduler.num_timesteps
            x0 = self._langevin(run, centre, variance, self.lr * (1 + done * (self.lr_min_ratio - 1)))
        return x0 if t_prev == 0 else noised(run, x0, t_prev)

    def _ode(self, run: Run, x: Tensor, t: int) -> Tensor:
        """The clean picture to which DDIM's steps without noise lead."""
        below = trailing_steps(t, min(self.ode_steps, t))[-2::-1]
        x0, eps = self._predicted(run, x, t)
        for step in below:
            a, sigma = run.scheduler.marginal(step)
            x0, eps = self._predicted(run, a * x0 + sigma * eps, step)
        return x0

    @staticmethod
    def _predicted(run: Run, x: Tensor, t: int) -> tuple[Tensor, Tensor]:
        eps = run.eps(x, t)
        return run.scheduler.x0_from_eps(x, eps, t), eps

    def _drawn(self, run: Run, centre: Tensor, variance: Tensor) -> Tensor:
        """A draw in singular directions, each with a prior N(centre, variance)."""
        s = self.operator.singular_values(centre)
        missing = self.operator.measured_spectrum(self.y - self.operator.A(centre))
        gain = torch.where(s > 0, variance * s / (variance * s**2 + self.tau**2).where(s > 0, 1.0), 0.0)
        left = (variance * (1 - gain * s)).clamp(min=0).sqrt()
        noise = self.operator.to_spectrum(gaussian_like(centre, run.generator))
        return centre + self.operator.from_spectrum(gain * missing + left * noise)

    def _langevin(self, run: Run, centre: Tensor, variance: Tensor, lr: float) -> Tensor:
        x = centre
        for _ in range(self.langevin_steps):
            slope = misfit_gradient(self.operator.A, x, self.y) / self.tau**2 + (x - centre) / variance
            x = x - lr * slope + math.sqrt(2 * lr) * gaussian_like(x, run.generator)
        return x
