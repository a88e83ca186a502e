"""Reverse processes from a degraded picture to the clean one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.samplers.base import SampleResult, StepCallback, choose_steps, gaussian_like
from dtir.diffusion.schedulers.bridge import Bridge, SDEBridge
from dtir.diffusion.schedulers.diffuir import ResidualDiffusion
from dtir.diffusion.schedulers.straight import StraightPath
from dtir.registry import SAMPLERS

Network = Callable[[Tensor, Tensor], Tensor]


class BridgeStep(NamedTuple):
    """What a step of a reverse process is given.

    Attributes:
        bridge: The forward process.
        x: States (B, C, H, W) at step t.
        out: The network's output for them, see `Bridge.predicts`.
        mu: Degraded pictures (B, C, H, W).
        t: The step.
        t_prev: The cleaner step to go to, 0 at the end.
        generator: Source of noise.
        again: The network's output for other states and another step.
        first: Whether it is the first step.
    """

    bridge: Bridge
    x: Tensor
    out: Tensor
    mu: Tensor
    t: int
    t_prev: int
    generator: torch.Generator | None = None
    again: Callable[[Tensor, int | float], Tensor] | None = None
    first: bool = False

    @property
    def x0(self) -> Tensor:
        """The clean pictures that go with the output."""
        return self.bridge.x0_from_output(self.x, self.out, self.mu, self.t)

    @property
    def eps(self) -> Tensor:
        """The noise that goes with the output."""
        return self.bridge.eps_from_output(self.x, self.out, self.mu, self.t)

    def noise(self) -> Tensor:
        """Standard normal noise like the states."""
        return gaussian_like(self.x, self.generator)


class BridgeSampler(ABC):
    """A reverse process; a subclass gives `step`. Holds settings only, so one object may serve many runs."""

    @abstractmethod
    def step(self, at: BridgeStep) -> Tensor:
        """The states (B, C, H, W) at step t_prev."""

    def place(self, bridge: Bridge, t: int) -> int | float:
        """Where the network is asked for step t: the step, or a time that the process takes in its place."""
        return t

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
        x = _start(bridge, mu, generator) if x_start is None else x_start
        trajectory = [x] if return_trajectory else []
        evals = 0

        def output(x: Tensor, t: int | float) -> Tensor:
            nonlocal evals
            evals += 1
            seen, time = bridge.network_input(x, t)
            return network(seen, torch.full((len(x),), time, device=x.device))

        for done, (t, t_prev) in enumerate(pairwise([*steps, 0]), start=1):
            out = output(x, self.place(bridge, t))
            x = self.step(BridgeStep(bridge, x, out, mu, t, t_prev, generator, output, done == 1))
            if return_trajectory:
                trajectory.append(x)
            if callback is not None:
                callback(done, t_prev, x)
        return SampleResult(x, evals, trajectory)


def _start(bridge: Bridge, mu: Tensor, generator: torch.Generator | None) -> Tensor:
    return bridge.start(mu, gaussian_like(mu, generator) if bridge.starts_noisy else torch.zeros_like(mu))


@SAMPLERS.register_module()
class PosteriorSampler(BridgeSampler):
    """Draws from q(x_t_prev | x_t, x_0) with x_0 predicted.

    Args:
        noise: Whether it draws, or takes the mean (I2SB's optimal-transport ODE).
        clip: Bounds of the predicted x_0, such as (-1, 1) as ResShift does; None for none.
    """

    def __init__(self, noise: bool = True, clip: tuple[float, float] | None = None) -> None:
        self.noise, self.clip = noise, clip

    @override
    def step(self, at: BridgeStep) -> Tensor:
        """No noise in the last step."""
        x0 = at.x0 if self.clip is None else at.x0.clamp(*self.clip)
        mean, variance = at.bridge.posterior(at.x, x0, at.mu, at.t, at.t_prev)
        return mean + variance.sqrt() * at.noise() if self.noise and at.t_prev > 0 else mean


@SAMPLERS.register_module()
class ImplicitSampler(BridgeSampler):
    """DDIM's steps on a bridge (Zheng et al., "Diffusion Bridge Implicit Models", ICLR 2025), without noise.

    The noise that is found in a state stays, at the level of the next: one noise at the start leads to one picture. A
    bridge that starts at the degraded picture itself draws it in its first step.

    Args:
        clip: Bounds of the predicted x_0; None for none.
    """

    def __init__(self, clip: tuple[float, float] | None = None) -> None:
        self.clip = clip

    @override
    def step(self, at: BridgeStep) -> Tensor:
        x0 = at.x0 if self.clip is None else at.x0.clamp(*self.clip)
        draws = at.first and not at.bridge.starts_noisy
        noise = at.noise() if draws else torch.zeros_like(at.x)
        return at.bridge.implicit_step(at.x, x0, at.mu, at.t, at.t_prev, noise)


@SAMPLERS.register_module()
class ConsistencySampler(BridgeSampler):
    """Predicts x_0, and noises it to the next step (Song et al., "Consistency Models", ICML 2023, algorithm 1).

    For networks of `ConsistencyRestorer`, of which one step is a sample.

    Args:
        clip: Bounds of the predicted x_0; None for none.
    """

    def __init__(self, clip: tuple[float, float] | None = None) -> None:
        self.clip = clip

    @override
    def step(self, at: BridgeStep) -> Tensor:
        """The prediction itself in the last step."""
        x0 = at.x0 if self.clip is None else at.x0.clamp(*self.clip)
        return x0 if at.t_prev == 0 else at.bridge.add_noise(x0, at.mu, at.noise(), at.t_prev)


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
    """Euler-Maruyama steps of the reverse equation, the last one with noise too, as published for IR-SDE and GOUB."""

    @override
    def step(self, at: BridgeStep) -> Tensor:
        drift, spread = self._equation(at.bridge).reverse_sde(at.x, at.eps, at.mu, at.t, at.t_prev)
        return at.x - drift - spread * at.noise()


@SAMPLERS.register_module()
class ReverseODESampler(EquationSampler):
    """Euler steps of the deterministic equation: IR-SDE's probability flow, GOUB's mean ODE."""

    @override
    def step(self, at: BridgeStep) -> Tensor:
        return at.x - self._equation(at.bridge).reverse_ode(at.x, at.eps, at.mu, at.t, at.t_prev)


@SAMPLERS.register_module()
class ResidualSampler(BridgeSampler):
    """DiffUIR's steps: the predicted residual is taken back by its share, the degraded picture returned by its own.

    The noise is left where it is until the last step, which is the predicted x_0.

    Args:
        eta: Noise added in each step, over that of the chain; 0 in DiffUIR's published results.
        clip: Bounds of the predicted residual and x_0; None for none.

    What it reads in an output is `ResidualDiffusion.parts`.
    """

    def __init__(self, eta: float = 0.0, clip: tuple[float, float] | None = (-1.0, 1.0)) -> None:
        self.eta, self.clip = eta, clip

    def step(self, at: BridgeStep) -> Tensor:
        """As `BridgeSampler.step`.

        Raises:
            ConfigError: The process is not DiffUIR's.
        """
        if not isinstance(at.bridge, ResidualDiffusion):
            raise ConfigError(f"ResidualSampler is of ResidualDiffusion alone, not of {type(at.bridge).__name__}.")
        residual, x0 = at.bridge.parts(at.x, at.out, at.mu, at.t, self.clip)
        if at.t_prev == 0:
            return x0
        (a, b, sigma), (a_prev, b_prev, sigma_prev) = at.bridge.marginal(at.t), at.bridge.marginal(at.t_prev)
        # In terms of mu - residual: what the means at both steps differ by.
        x = at.x + (a_prev - a) * (at.mu - residual) + (b_prev - b) * at.mu
        if not self.eta:
            return x
        variance = (sigma**2 - sigma_prev**2) * sigma_prev**2 / sigma**2
        return x + (self.eta * variance).sqrt() * at.noise()


@SAMPLERS.register_module()
class ColdSampler(BridgeSampler):
    """Cold diffusion's Algorithm 2: exchanges the degradation of step t for that of t_prev (Bansal et al., 2023)."""

    @override
    def step(self, at: BridgeStep) -> Tensor:
        (a, b, _), (a_prev, b_prev, _) = at.bridge.marginal(at.t), at.bridge.marginal(at.t_prev)
        return at.x + (a_prev - a) * at.x0 + (b_prev - b) * at.mu


@SAMPLERS.register_module()
class FlowHeunSampler(BridgeSampler):
    """Heun's steps along a flow: two evaluations each, one in the last. Euler's are those of `PosteriorSampler`."""

    def step(self, at: BridgeStep) -> Tensor:
        """As `BridgeSampler.step`.

        Raises:
            ConfigError: The process is none whose network predicts a velocity.
        """
        if not isinstance(at.bridge, StraightPath) or at.bridge.predicts != "velocity":
            raise ConfigError(
                "FlowHeunSampler needs a process whose network predicts a velocity, such as RectifiedFlow."
            )
        length = (at.t_prev - at.t) / at.bridge.num_timesteps
        x = at.x + length * at.out
        return x if at.t_prev == 0 else at.x + length / 2 * (at.out + at.again(x, at.t_prev))
