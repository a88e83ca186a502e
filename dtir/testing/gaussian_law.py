"""Mean and covariance of what a sampler draws from a Gaussian prior, exactly: no Monte-Carlo error.

With the exact denoiser of a Gaussian every step is affine in the state and in the noise. So one batch tells the whole
law of the samples: its first row goes without noise and is the mean; each other row is given one coordinate of one draw
of noise, and differs from the first by that coordinate's share. Samplers whose steps depend on the size of the state or
the noise (`PredictorCorrectorSampler`, `DPS`, `MCG`) are not affine.
"""

import math
from collections.abc import Callable, Sequence
from unittest.mock import patch

import torch
from torch import Tensor

from dtir.diffusion.guidance.base import Guidance
from dtir.diffusion.operators import LinearOperator
from dtir.diffusion.samplers import Sampler
from dtir.diffusion.samplers.bridges import BridgeSampler
from dtir.diffusion.schedulers import Bridge, RectifiedFlow, Scheduler

Law = tuple[Tensor, Tensor]


class GaussianPrior:
    """N(mean, cov) over pictures of a few pixels, in float64.

    Args:
        shape: Shape of the pictures, (C, H, W).
        correlation: 0 for independent pixels of equal variance, 1 for a random covariance, or between.
        seed: Seed of mean and covariance.

    Attributes:
        mean: (D,), D being C H W.
        cov: (D, D).
    """

    def __init__(self, shape: Sequence[int] = (8, 1, 1), correlation: float = 1.0, seed: int = 0) -> None:
        self.shape, dim = tuple(shape), math.prod(shape)
        generator = torch.Generator().manual_seed(seed)
        factor = torch.randn(dim, dim, generator=generator, dtype=torch.float64) / dim**0.5
        self.mean = torch.randn(dim, generator=generator, dtype=torch.float64) / 2
        unit = torch.eye(dim, dtype=torch.float64)
        self.cov = 0.3 * (correlation * factor @ factor.T + (1 - correlation) * unit) + 0.02 * unit

    def picture(self, rows: Tensor) -> Tensor:
        """Rows (B, D) as pictures (B, C, H, W)."""
        return rows.view(-1, *self.shape)

    def of_state(self, a: float, sigma: float) -> Tensor:
        """Covariance (D, D) of `a x_0 + sigma eps`."""
        return a**2 * self.cov + sigma**2 * torch.eye(len(self.mean), dtype=torch.float64)

    def denoised(self, x: Tensor, a: float, shift: Tensor | float, sigma: float) -> Tensor:
        """E[x_0 | x] (B, C, H, W) for states `x = a x_0 + shift + sigma eps`; the prior's mean where a is 0."""
        flat = (x - shift).flatten(1)
        if a == 0:
            return self.picture(self.mean.expand(len(flat), -1))
        gain = a * self.cov @ torch.linalg.inv(self.of_state(a, sigma))
        return self.picture(self.mean + (flat - a * self.mean) @ gain.T)

    def posterior(self, A: Tensor, y: Tensor, sigma_y: float = 0.0) -> Law:
        """Mean and covariance of x_0 given `y = A x_0 + sigma_y n`, A (M, D) and y (M,); exact for `sigma_y` 0 too."""
        spread = A @ self.cov @ A.T + sigma_y**2 * torch.eye(len(A), dtype=torch.float64)
        gain = self.cov @ A.T @ torch.linalg.pinv(spread, rtol=1e-10)
        return self.mean + gain @ (y - A @ self.mean), self.cov - gain @ A @ self.cov

    def start(self, mean: Tensor, cov: Tensor, draws: int) -> Tensor:
        """Pictures that stand for N(mean, cov), with rows for so many draws of noise after it."""
        dim = len(self.mean)
        rows = mean.repeat(1 + (draws + 1) * dim, 1)
        values, axes = torch.linalg.eigh(cov)
        rows[1 : 1 + dim] += (axes * values.clamp(min=0).sqrt()).T
        return self.picture(rows)


class _UnitDraws:
    """A stand-in for torch.randn: draw number k gives its own block of rows a unit vector each, and 0 to the others."""

    def __init__(self) -> None:
        self.draws = 0

    def __call__(self, shape: torch.Size, **options: object) -> Tensor:
        self.draws += 1
        noise = torch.zeros(shape, dtype=torch.float64).flatten(1)
        dim = noise.shape[1]
        block = slice(1 + self.draws * dim, 1 + (self.draws + 1) * dim)
        if block.stop > len(noise):
            raise ValueError(f"draw {self.draws} of noise has no rows among {len(noise)}.")
        noise[block] = torch.eye(dim, dtype=torch.float64)
        return noise.view(shape)


def _law(run: Callable[[], Tensor]) -> Law:
    with patch.object(torch, "randn", _UnitDraws()):
        flat = run().flatten(1)
    shares = flat[1:] - flat[0]
    return flat[0], shares.T @ shares


def noise_law(
    sampler: Sampler, scheduler: Scheduler, steps: Sequence[int], prior: GaussianPrior, draws: int = 1
) -> Law:
    """Mean and covariance of the samples of a process to noise, in these steps from the exact law of the state at T.

    Args:
        sampler: The sampler, or a guidance: then `y` is one picture's measurements, (1, ...).
        scheduler: The process, in float64.
        steps: Descending steps.
        prior: Prior of x_0.
        draws: The most that a step draws.
    """
    a, sigma = (value.item() for value in scheduler.marginal(steps[0]))

    def eps(x: Tensor, t: Tensor) -> Tensor:
        a, sigma = (value.item() for value in scheduler.marginal(t[0].item()))
        return (x - a * prior.denoised(x, a, 0.0, sigma)) / sigma

    x = prior.start(a * prior.mean, prior.of_state(a, sigma), draws * len(steps))
    if isinstance(sampler, Guidance):
        sampler.y = sampler.y.expand(len(x), *sampler.y.shape[1:])
    return _law(lambda: sampler.sample(eps, scheduler, x, timesteps=steps).sample)


def bridge_law(
    sampler: BridgeSampler, bridge: Bridge, mu: Tensor, prior: GaussianPrior, steps: int | None = None
) -> Law:
    """The same for a process from `mu` (D,), x_0 being the prior's whatever mu is; in all steps, or so many.

    The process is changed: its network predicts x_0, or a velocity, and is told the step.
    """
    timesteps = bridge.sample_steps(steps or bridge.num_timesteps)
    if not isinstance(bridge, RectifiedFlow):
        bridge.predicts = "x0"
    bridge.network_input = lambda x, t: (x, t)

    def network(x: Tensor, t: Tensor) -> Tensor:
        step = t[0].item()
        a, b, sigma = (value.item() for value in bridge.marginal(step))
        x0 = prior.denoised(x, a, b * prior.picture(mu), sigma)
        return (x - x0) * bridge.num_timesteps / step if isinstance(bridge, RectifiedFlow) else x0

    a, b, sigma = (value.item() for value in bridge.marginal(bridge.num_timesteps))
    x = prior.start(a * prior.mean + b * mu, prior.of_state(a, sigma), len(timesteps))
    ends = prior.picture(mu).expand(len(x), -1, -1, -1)
    return _law(lambda: sampler.sample(network, bridge, ends, x_start=x, timesteps=timesteps).sample)


def operator_matrix(operator: LinearOperator, shape: Sequence[int]) -> Tensor:
    """The matrix (M, D) of an operator on pictures of a shape (C, H, W), D being C H W."""
    return operator.A(torch.eye(math.prod(shape), dtype=torch.float64).view(-1, *shape)).flatten(1).T


def law_errors(found: Law, true: Law, spread: Tensor | None = None) -> tuple[float, float]:
    """Largest error of the mean over the spread of its coordinate, and of the covariance over the two spreads.

    Args:
        found: Mean (D,) and covariance (D, D).
        true: The same.
        spread: Spread of the coordinates, (D,); by default that of `true`.
    """
    spread = true[1].diagonal().sqrt() if spread is None else spread
    return (
        ((found[0] - true[0]).abs() / spread).max().item(),
        ((found[1] - true[1]).abs() / torch.outer(spread, spread)).max().item(),
    )
