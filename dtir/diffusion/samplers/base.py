"""The one interface of all reverse processes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.schedulers.base import Scheduler

Denoiser = Callable[[Tensor, Tensor], Tensor]
StepCallback = Callable[[int, int, Tensor], None]


@dataclass
class SampleResult:
    """What a sampler returns.

    Attributes:
        sample: Final images (B, C, H, W), centred domain.
        num_evals: Number of calls of the denoiser.
        trajectory: The start and the images after each step, if asked for; else empty.
    """

    sample: Tensor
    num_evals: int
    trajectory: list[Tensor] = field(default_factory=list)


def gaussian_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal noise with the shape, type and device of x, drawn on the device of the generator.

    A generator of the CPU gives the same noise whatever the device of x, at the price of a copy.

    Example:
        >>> x = torch.zeros(2, 3, 4, 4)
        >>> noise = gaussian_like(x, torch.Generator().manual_seed(0))
        >>> noise.equal(gaussian_like(x, torch.Generator().manual_seed(0)))
        True
    """
    device = x.device if generator is None else generator.device
    return torch.randn(x.shape, dtype=x.dtype, device=device, generator=generator).to(
        x.device, non_blocking=device.type == "cpu"
    )


def choose_steps(scheduler: Scheduler, timesteps: Sequence[int] | None, num_steps: int | None) -> list[int]:
    """Returns the descending steps of a run: those given, else `num_steps` of the schedule, else all of them.

    Raises:
        ConfigError: Both are given, or `timesteps` is empty, not strictly descending, or outside 1..T.
    """
    if timesteps is None:
        return scheduler.sample_steps(scheduler.num_timesteps if num_steps is None else num_steps)
    if num_steps is not None:
        raise ConfigError("give a sampler either timesteps or num_steps, not both.")
    steps = [int(t) for t in timesteps]
    descending = all(a > b for a, b in pairwise([*steps, 0]))
    if not steps or not descending or steps[0] > scheduler.num_timesteps:
        raise ConfigError(f"timesteps={steps} must be strictly descending steps of 1..{scheduler.num_timesteps}.")
    return steps


@dataclass
class Run:
    """One run of a sampler, with what a step may need beside the state.

    Attributes:
        denoiser: Predicts the noise.
        scheduler: The forward process.
        generator: Source of noise.
        num_steps: Steps of the run.
        num_evals: Calls of the denoiser so far.
    """

    denoiser: Denoiser
    scheduler: Scheduler
    generator: torch.Generator | None
    num_steps: int = 1
    num_evals: int = 0

    def eps(self, x: Tensor, t: int | float) -> Tensor:
        """The noise predicted in x (B, C, H, W) at step t, or at a level of a process that has them."""
        self.num_evals += 1
        return self.denoiser(x, torch.full((len(x),), t, device=x.device))


class Sampler(ABC):
    """A reverse process; a subclass gives `states`. Holds settings only, so one object may serve many runs."""

    @abstractmethod
    def states(self, run: Run, x: Tensor, path: Sequence[int]) -> Iterator[Tensor]:
        """Yields the state at each step of a path after the first.

        What a multistep method remembers of earlier steps are variables of this generator.

        Args:
            run: The denoiser and the process.
            x: The state (B, C, H, W) at the first step.
            path: Steps from the first one to 0.
        """

    def path(self, steps: list[int]) -> list[int]:
        """The steps that a run goes through, from the first to 0, given the descending ones that are asked for."""
        return [*steps, 0]

    @torch.no_grad()
    def sample(
        self,
        denoiser: Denoiser,
        scheduler: Scheduler,
        x_start: Tensor,
        *,
        timesteps: Sequence[int] | None = None,
        num_steps: int | None = None,
        generator: torch.Generator | None = None,
        callback: StepCallback | None = None,
        return_trajectory: bool = False,
    ) -> SampleResult:
        """Runs the reverse process from `x_start` at the first step down to 0.

        Args:
            denoiser: `(x_t (B, C, H, W) centred, t (B,) long) -> eps (B, C, H, W)`.
            scheduler: The forward process, on the device of `x_start`.
            x_start: Noisy images (B, C, H, W) at the first step, centred domain.
            timesteps: Strictly descending steps of 1..T, without the final 0.
            num_steps: Number of evenly spaced steps from T, in place of `timesteps`; None for all T.
            generator: Source of the noise of stochastic samplers; None for the global one of the device.
            callback: Called after each step as `(steps done, step reached, images)`.
            return_trajectory: Keep the images of all steps.

        Raises:
            ConfigError: The steps cannot be used; see `choose_steps`.
        """
        steps = choose_steps(scheduler, timesteps, num_steps)
        run = Run(denoiser, scheduler, generator, len(steps))
        x, trajectory = x_start, [x_start] if return_trajectory else []
        path = self.path(steps)
        for done, x in enumerate(self.states(run, x_start, path), start=1):
            if return_trajectory:
                trajectory.append(x)
            if callback is not None:
                callback(done, path[done], x)
        return SampleResult(x, run.num_evals, trajectory)


class OneStepSampler(Sampler):
    """A reverse process whose steps know nothing of each other; a subclass gives `advance`."""

    @abstractmethod
    def advance(self, run: Run, x: Tensor, t: int, t_prev: int) -> Tensor:
        """Goes from step t to the cleaner step t_prev (0 at the end)."""

    @override
    def states(self, run: Run, x: Tensor, path: Sequence[int]) -> Iterator[Tensor]:
        for t, t_prev in pairwise(path):
            x = self.advance(run, x, t, t_prev)
            yield x


class StepSampler(OneStepSampler):
    """A reverse process that needs one prediction per step; a subclass gives `step`."""

    @abstractmethod
    def step(
        self,
        scheduler: Scheduler,
        x_t: Tensor,
        eps: Tensor,
        t: int,
        t_prev: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Goes from step t to the cleaner step t_prev (0 at the end), given the noise `eps` predicted in `x_t`."""

    @override
    def advance(self, run: Run, x: Tensor, t: int, t_prev: int) -> Tensor:
        return self.step(run.scheduler, x, run.eps(x, t), t, t_prev, run.generator)
