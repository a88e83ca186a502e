"""Guidance by the gradient of the measurements' misfit through the denoiser."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from typing_extensions import override

from dtir.diffusion.guidance.base import (
    Bounds,
    Guidance,
    GuidedSampler,
    differentiable_x0,
    stochastic_step,
    x0_variance,
)
from dtir.diffusion.operators import LinearOperator, Operator, SpectralOperator
from dtir.diffusion.operators.base import straight_through
from dtir.diffusion.samplers.base import OneStepSampler, Run, gaussian_like
from dtir.registry import GUIDANCE

# Of the pictures that published scales are for.
PUBLISHED_SIDE = 256


@GUIDANCE.register_module()
class DPS(OneStepSampler, Guidance):
    """Diffusion posterior sampling (Chung et al., ICLR 2023): a step down the gradient of `|y - A(x_0(x_t))|`.

    Args:
        operator: The degradation, differentiable, not necessarily linear; or any such function of pictures.
        y: Measurements.
        scale: Length of the step, in units of the gradient for pictures of `PUBLISHED_SIDE`. The misfit is a norm over
            all pixels, as published, whose gradient in each pixel falls with the picture's side: it is multiplied with
            the side, so that one scale serves pictures of all sizes. Half the number of steps needs twice the scale.
        clip: Bounds of the predicted x_0, such as (-1, 1) as published; None for none. The gradient passes through, so
            that a prediction beyond them is led back.
    """

    def __init__(
        self,
        operator: Operator | Callable[[Tensor], Tensor],
        y: Tensor,
        scale: float = 1.0,
        clip: Bounds = None,
    ) -> None:
        self.forward = operator.A if isinstance(operator, Operator) else operator
        self.y, self.scale, self.clip = y, scale, clip

    @override
    def advance(self, run: Run, x: Tensor, t: int, t_prev: int) -> Tensor:
        leaf, eps, x0 = differentiable_x0(run, x, t)
        with torch.enable_grad():
            x0 = x0 if self.clip is None else straight_through(x0, x0.clamp(*self.clip))
            # One norm per sample, so that samples do not see each other.
            misfit = (self.y - self.forward(x0)).flatten(1).norm(dim=1)
            (gradient,) = torch.autograd.grad(misfit.sum(), leaf)
        if self.clip is not None:
            eps = run.scheduler.eps_from_x0(x, x0.detach(), t)
        step = stochastic_step(run, x, x0.detach(), eps, t, t_prev, eta=1.0)
        side = math.sqrt(x.shape[-2] * x.shape[-1]) / PUBLISHED_SIDE
        return step - self.scale * side * gradient


@GUIDANCE.register_module()
class MCG(GuidedSampler):
    """Manifold-constrained gradient (Chung et al., NeurIPS 2022): DPS's step, then the measured part is replaced.

    Args:
        operator: A.
        y: Measurements.
        scale: As in `DPS`.
        clip: As in `DPS`.
    """

    def __init__(self, operator: LinearOperator, y: Tensor, scale: float = 1.0, clip: Bounds = None) -> None:
        super().__init__(operator, y)
        self.gradient = DPS(operator, y, scale, clip)

    @override
    def advance(self, run: Run, x: Tensor, t: int, t_prev: int) -> Tensor:
        x = self.gradient.advance(run, x, t, t_prev)
        a, sigma = run.scheduler.marginal(t_prev)
        reference = a * self.operator.A_pinv(self.y) + sigma * gaussian_like(x, run.generator)
        return x + self.operator.project(reference - x)


@GUIDANCE.register_module()
class PiGDM(GuidedSampler):
    """Pseudo-inverse guided diffusion (Song et al., ICLR 2023): the score of y given x_t, x_0 being N(x_0(x_t), r^2).

    Args:
        operator: A `SpectralOperator`.
        y: Measurements.
        sigma_y: Standard deviation of their noise.
        eta: Share of the posterior's noise that is drawn anew.
        spread: Standard deviation of the data, which bounds r: `r_t^2 = s^2 sigma_t^2 / (a_t^2 s^2 + sigma_t^2)`.
        damping: The guidance is multiplied by a_t to this power. 0 is right for a denoiser without error. That of a
            network has one in its derivative, which 1 / a_t enlarges, so that the first steps diverge; the published
            code has, for a spread of 1, the weight that 2 gives.
    """

    needs = SpectralOperator

    def __init__(
        self,
        operator: SpectralOperator,
        y: Tensor,
        sigma_y: float = 0.0,
        eta: float = 1.0,
        spread: float = 1.0,
        damping: float = 0.0,
    ) -> None:
        super().__init__(operator, y, sigma_y)
        self.eta, self.spread, self.damping = eta, spread, damping

    @override
    def advance(self, run: Run, x: Tensor, t: int, t_prev: int) -> Tensor:
        """DDIM's step with the noise that goes with the guided score."""
        a, sigma = run.scheduler.marginal(t)
        leaf, eps, x0 = differentiable_x0(run, x, t)
        variance = x0_variance(run.scheduler, t, self.spread)
        s = self.operator.singular_values(x)
        missing = self.operator.measured_spectrum(self.y - self.operator.A(x0.detach()))
        # A^T (r^2 A A^T + sigma_y^2)^-1 (y - A x_0), in singular directions.
        scaled = torch.where(s > 0, s / (variance * s**2 + self.sigma_y**2).where(s > 0, 1.0), 0.0)
        (score,) = torch.autograd.grad(x0, leaf, self.operator.from_spectrum(scaled * missing))
        guided = eps - sigma * a**self.damping * score
        return stochastic_step(run, x, run.scheduler.x0_from_eps(x, guided, t), guided, t, t_prev, self.eta)
