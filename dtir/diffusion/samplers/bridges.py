"""Reverse processes from a degraded picture to the clean one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from dtir.diffusion.samplers.base import SampleResult, StepCallback, choose_steps, gaussian_like
from dtir.diffusion.schedulers.bridge import Bridge, SDEBridge
from dtir.registry import SAMPLERS
from dtir.utils.errors import ConfigError

Network = Callable[[Tensor, Tensor], Tensor]


class BridgeSampler(ABC):
    """A reverse process; a subclass gives `step`. Holds settings only, so one object may serve many runs."""

    @abstractmethod
    def step(
        self,
        bridge: Bridge,
        x_t: Tensor,
        out: Tensor,
        mu: Tensor,
        t: int,
        t_prev: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Goes from step t to the cleaner step t_prev (0 at the end), given the network's output for `x_t`."""

    @torch.no_grad()
    def sample(
        self,
        network: Network,
        bridge: Bridge,
        mu: Tensor,
        *,
        x_start: Tensor | None = None,
        timesteps: Sequence[int] | None = None,
        num_steps: int | None = None,
        generator: torch.Generator | None = None,
        callback: StepCallback | None = None,
        return_trajectory: bool = False,
    ) -> SampleResult:
        """Runs the reverse process from the degraded pictures.

        Args:
            network: `(x_t (B, C, H, W), t (B,)) -> output (B, C, H, W)`, see `Bridge.predicts`; it knows `mu`.
            bridge: The forward process, on the device of `mu`.
            mu: Degraded pictures (B, C, H, W).
            x_start: State at the first step; by default drawn by `Bridge.start`.
            timesteps: Strictly descending steps of 1..T, without the final 0.
            num_steps: Number of evenly spaced steps from T, in place of `timesteps`; None for all T.
            generator: Source of all noise; None for the global one of the device.
            callback: Called after each step as `(steps done, step reached, states)`.
            return_trajectory: Keep the states of all steps.

        Raises:
            ConfigError: The steps cannot be used, or the sampler not with this process.
        """
        steps = choose_steps(bridge, timesteps, num_steps)
        x = bridge.start(mu, gaussian_like(mu, generator)) if x_start is None else x_start
        trajectory = [x] if return_trajectory else []
        for done, (t, t_prev) in enumerate(pairwise([*steps, 0]), start=1):
            seen, time = bridge.network_input(x, t)
            out = network(seen, torch.full((len(x),), time, device=x.device))
            x = self.step(bridge, x, out, mu, t, t_prev, generator)
            if return_trajectory:
                trajectory.append(x)
            if callback is not None:
                callback(done, t_prev, x)
        return SampleResult(x, len(steps), trajectory)


@SAMPLERS.register_module()
class PosteriorSampler(BridgeSampler):
    """Draws from q(x_t_prev | x_t, x_0) with x_0 predicted.

    Args:
        noise: Whether it draws, or takes the mean (I2SB's optimal-transport ODE).
        clip: Bounds of the predicted x_0, such as (-1, 1) as ResShift does; None for none.
    """

    def __init__(self, noise: bool = True, clip: tuple[float, float] | None = None) -> None:
        self.noise, self.clip = noise, clip

    def step(
        self,
        bridge: Bridge,
        x_t: Tensor,
        out: Tensor,
        mu: Tensor,
        t: int,
        t_prev: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """As `BridgeSampler.step`; no noise in the last step."""
        x0 = bridge.x0_from_output(x_t, out, mu, t)
        if self.clip is not None:
            x0 = x0.clamp(*self.clip)
        mean, variance = bridge.posterior(x_t, x0, mu, t, t_prev)
        return mean + variance.sqrt() * gaussian_like(x_t, generator) if self.noise and t_prev > 0 else mean


class EquationSampler(BridgeSampler):
    """What the two following share: they need a bridge that is given by a differential equation."""

    def _equation(self, bridge: Bridge) -> SDEBridge:
        if isinstance(bridge, SDEBridge):
            return bridge
        raise ConfigError(
            f"{type(self).__name__} needs a process given by a differential equation, such as IRSDE or GOUB; "
            f"{type(bridge).__name__} is none. Use PosteriorSampler."
        )


@SAMPLERS.register_module()
class ReverseSDESampler(EquationSampler):
    """Euler-Maruyama steps of the reverse equation, with noise in the last step too, as IR-SDE and GOUB publish it."""

    def step(
        self,
        bridge: Bridge,
        x_t: Tensor,
        out: Tensor,
        mu: Tensor,
        t: int,
        t_prev: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """As `BridgeSampler.step`."""
        eps = bridge.eps_from_output(x_t, out, mu, t)
        drift, spread = self._equation(bridge).reverse_sde(x_t, eps, mu, t, t_prev)
        return x_t - drift - spread * gaussian_like(x_t, generator)


@SAMPLERS.register_module()
class ReverseODESampler(EquationSampler):
    """Euler steps of the deterministic equation: IR-SDE's probability flow, GOUB's mean ODE."""

    def step(
        self,
        bridge: Bridge,
        x_t: Tensor,
        out: Tensor,
        mu: Tensor,
        t: int,
        t_prev: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """As `BridgeSampler.step`."""
        return x_t - self._equation(bridge).reverse_ode(x_t, bridge.eps_from_output(x_t, out, mu, t), mu, t, t_prev)


@SAMPLERS.register_module()
class ResidualSampler(BridgeSampler):
    """DiffUIR's steps: the predicted residual is taken back by its share, the degraded picture returned by its own.

    The noise is left where it is until the last step, which is the predicted x_0.

    Args:
        eta: Noise added in each step, over that of the chain; 0 publishes DiffUIR's results.
        clip: Bounds of the predicted residual and x_0; None for none.
    """

    def __init__(self, eta: float = 0.0, clip: tuple[float, float] | None = (-1.0, 1.0)) -> None:
        self.eta, self.clip = eta, clip

    def step(
        self,
        bridge: Bridge,
        x_t: Tensor,
        out: Tensor,
        mu: Tensor,
        t: int,
        t_prev: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """As `BridgeSampler.step`."""
        residual = self._clipped(mu - bridge.x0_from_output(x_t, out, mu, t))
        if t_prev == 0:
            return self._clipped(mu - residual)
        (a, b, sigma), (a_prev, b_prev, sigma_prev) = bridge.marginal(t), bridge.marginal(t_prev)
        # In terms of x_0 = mu - residual: what the means at both steps differ by.
        x = x_t + (a_prev - a) * (mu - residual) + (b_prev - b) * mu
        if not self.eta:
            return x
        variance = (sigma**2 - sigma_prev**2) * sigma_prev**2 / sigma**2
        return x + (self.eta * variance).sqrt() * gaussian_like(x_t, generator)

    def _clipped(self, x: Tensor) -> Tensor:
        return x if self.clip is None else x.clamp(*self.clip)


@SAMPLERS.register_module()
class ColdSampler(BridgeSampler):
    """Cold diffusion's Algorithm 2: exchanges the degradation of step t for that of t_prev (Bansal et al., 2023)."""

    def step(
        self,
        bridge: Bridge,
        x_t: Tensor,
        out: Tensor,
        mu: Tensor,
        t: int,
        t_prev: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """As `BridgeSampler.step`."""
        x0 = bridge.x0_from_output(x_t, out, mu, t)
        (a, b, _), (a_prev, b_prev, _) = bridge.marginal(t), bridge.marginal(t_prev)
        return x_t - (a * x0 + b * mu) + (a_prev * x0 + b_prev * mu)
