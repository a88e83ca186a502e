"""Training-free guidance: an unconditional denoiser restores what a known operator has damaged."""

from collections.abc import Callable

import torch
from torch import Tensor

from dtir.core.errors import ConfigError
from dtir.diffusion.operators import LinearOperator, Operator
from dtir.diffusion.samplers.base import OneStepSampler, Run, Sampler, gaussian_like
from dtir.diffusion.schedulers.base import Scheduler


class Guidance(Sampler):
    """A sampler that is led by measurements; built as `(operator, y, ...)`."""

    def start(self, scheduler: Scheduler, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The state at T for pictures like `like`: noise."""
        return scheduler.marginal(scheduler.num_timesteps)[1] * gaussian_like(like, generator)


class GuidedSampler(OneStepSampler, Guidance):
    """A sampler of the unconditional model that is led to agree with measurements `y = A x + sigma_y n`.

    Args:
        operator: A, on pictures in the centred domain.
        y: Measurements, in that domain too.
        sigma_y: Standard deviation of their noise.

    Attributes:
        needs: Kind of operator that a guidance can be used with.

    Raises:
        ConfigError: `sigma_y` is negative, or the operator of another kind than is needed.
    """

    needs: type[Operator] = LinearOperator

    def __init__(self, operator: Operator, y: Tensor, sigma_y: float = 0.0) -> None:
        if not isinstance(operator, self.needs):
            raise ConfigError(
                f"{type(self).__name__} needs the operator to be a {self.needs.__name__}, not "
                f"{type(operator).__name__}. DPS takes any differentiable operator."
            )
        if sigma_y < 0:
            raise ConfigError(f"{type(self).__name__}: sigma_y={sigma_y} must not be negative.")
        self.operator, self.y, self.sigma_y = operator, y, sigma_y


def stochastic_step(run: Run, x: Tensor, x0: Tensor, eps: Tensor, t: int, t_prev: int, eta: float) -> Tensor:
    """DDIM's step with the variance eta^2 of the posterior's, for any pair of x_0 and eps; x_0 itself at the end."""
    a_prev, sigma_prev = run.scheduler.marginal(t_prev)
    if t_prev == 0:
        return a_prev * x0 + sigma_prev * eps
    fresh = eta**2 * run.scheduler.step_variance(t, t_prev) / run.scheduler.marginal(t)[1] ** 2
    kept = (1 - fresh).clamp(min=0).sqrt()
    return a_prev * x0 + sigma_prev * (kept * eps + fresh.sqrt() * gaussian_like(x, run.generator))


Bounds = tuple[float, float] | None


def clipped_prediction(run: Run, x: Tensor, t: int, clip: Bounds) -> tuple[Tensor, Tensor]:
    """The clean picture predicted in states, clipped where there are bounds, and the noise that goes with it."""
    eps = run.eps(x, t)
    x0 = run.scheduler.x0_from_eps(x, eps, t)
    if clip is None:
        return x0, eps
    x0 = x0.clamp(*clip)
    return x0, run.scheduler.eps_from_x0(x, x0, t)


def differentiable_x0(run: Run, x: Tensor, t: int) -> tuple[Tensor, Tensor, Tensor]:
    """The state as a leaf, the noise predicted in it, and the clean picture, which is differentiable in the state."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        eps = run.eps(leaf, t)
        return leaf, eps.detach(), run.scheduler.x0_from_eps(leaf, eps, t)


def noised(run: Run, x0: Tensor, t: int) -> Tensor:
    """Clean pictures with the noise of step t, drawn anew."""
    a, sigma = run.scheduler.marginal(t)
    return a * x0 + sigma * gaussian_like(x0, run.generator)


def x0_variance(scheduler: Scheduler, t: int, spread: float | None) -> Tensor:
    """Variance of x_0 around its prediction in a state of step t, (1, 1, 1, 1).

    Args:
        scheduler: The process.
        t: The step.
        spread: Standard deviation s of the data: `s^2 sigma_t^2 / (a_t^2 s^2 + sigma_t^2)`, which is exact for
            independent Gaussian pixels; None for data without bound, `sigma_t^2 / a_t^2`.
    """
    a, sigma = scheduler.marginal(t)
    return (sigma / a) ** 2 if spread is None else spread**2 * sigma**2 / (a**2 * spread**2 + sigma**2)


def misfit_gradient(forward: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """The gradient of `|y - A(x)|^2 / 2` in pictures x (B, C, H, W), for each by itself."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad((y - forward(leaf)).square().sum() / 2, leaf)
    return gradient
