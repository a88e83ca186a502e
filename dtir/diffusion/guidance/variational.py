"""Guidance that fits one picture to measurements and denoiser, and draws no samples."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.guidance.base import Guidance, misfit_gradient
from dtir.diffusion.operators import LinearOperator, Operator
from dtir.diffusion.samplers.base import Run, gaussian_like
from dtir.diffusion.schedulers.base import Scheduler
from dtir.registry import GUIDANCE

# Of Adam, as published.
BETAS, EPSILON = (0.9, 0.99), 1e-8


@GUIDANCE.register_module()
class REDDiff(Guidance):
    """RED-diff (Mardani et al., ICLR 2024): the mean mu of a narrow Gaussian that is fitted to the posterior.

    Its Algorithm 1: in every step Adam goes down the slope of `w_t <eps_theta(a_t mu + sigma_t eps, t) - eps, mu>`,
    with the first factor held fixed, and `|y - A(mu)|^2 / 2`, the weight being `w_t = grad_term_weight sigma_t / a_t`.
    Both terms are means over their elements, as in the published code. States are mu, not noisy pictures.

    It gives one picture, not samples of a posterior: what the measurements leave open comes to the prior's mean, or
    mode. For independent Gaussian pixels and measurements without noise that is the posterior's mean, up to Adam's
    jitter, which falls with `lr`; directions of small singular values come there slowly. Since w_t falls to 0, noise in
    the measurements is fitted too.

    Args:
        operator: The degradation, differentiable, not necessarily linear; or any such function of pictures.
        y: Measurements.
        lr: Adam's length of a step. Fewer steps need longer ones.
        grad_term_weight: Weight of the denoiser.
        obs_weight: Weight of the measurements.

    Raises:
        ConfigError: A value is not above 0.
    """

    def __init__(
        self,
        operator: Operator | Callable[[Tensor], Tensor],
        y: Tensor,
        lr: float = 0.1,
        grad_term_weight: float = 0.25,
        obs_weight: float = 1.0,
    ) -> None:
        for name, value in (("lr", lr), ("grad_term_weight", grad_term_weight), ("obs_weight", obs_weight)):
            if value <= 0:
                raise ConfigError(f"REDDiff: {name}={value} must be above 0.")
        self.operator, self.y = operator, y
        self.forward = operator.A if isinstance(operator, Operator) else operator
        self.lr, self.grad_term_weight, self.obs_weight = lr, grad_term_weight, obs_weight

    @override
    def start(self, scheduler: Scheduler, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The first mu: what the pseudo-inverse gives, or the measurements where they are such pictures, or grey."""
        if isinstance(self.operator, LinearOperator):
            return self.operator.A_pinv(self.y)
        return self.y if self.y.shape == like.shape else torch.zeros_like(like)

    @override
    def states(self, run: Run, x: Tensor, path: Sequence[int]) -> Iterator[Tensor]:
        mu, mean, square = x, torch.zeros_like(x), torch.zeros_like(x)
        for step, t in enumerate(path[:-1], start=1):
            slope = self._slope(run, mu, t)
            mean = mean.lerp(slope, 1 - BETAS[0])
            square = square.lerp(slope**2, 1 - BETAS[1])
            length = (square / (1 - BETAS[1] ** step)).sqrt() + EPSILON
            mu = mu - self.lr * mean / (1 - BETAS[0] ** step) / length
            yield mu

    def _slope(self, run: Run, mu: Tensor, t: int) -> Tensor:
        """The slope of both terms, times the elements of a picture, which Adam does not see."""
        a, sigma = run.scheduler.marginal(t)
        eps = gaussian_like(mu, run.generator)
        off = run.eps(a * mu + sigma * eps, t) - eps
        share = mu[0].numel() / self.y[0].numel()
        misfit = misfit_gradient(self.forward, mu, self.y)
        return self.grad_term_weight * sigma / a * off + self.obs_weight * share * misfit
