"""How a network is told how noisy a state is: by its step, or by a continuous level of noise."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.schedulers.base import Scheduler
from dtir.registry import LEVELS


class ConditioningLevel(ABC):
    """Draws levels of noise for training, and names those that a sampler visits. Holds settings only."""

    @abstractmethod
    def check(self, training: Scheduler, sampling: Scheduler) -> None:
        """Checks that a network trained on one schedule can be sampled on another, perhaps the same object.

        Raises:
            ConfigError: It cannot.
        """

    @abstractmethod
    def draw(self, scheduler: Scheduler, t: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A level for each training sample.

        Args:
            scheduler: The forward process.
            t: Steps (B,) in 1..T.
            u: Numbers (B,) in [0, 1).

        Returns:
            Mean coefficient and standard deviation, each (B, 1, 1, 1), and what the network is given, (B,).
        """

    @abstractmethod
    def of_step(self, scheduler: Scheduler, t: Tensor) -> Tensor:
        """What the network is given at steps (B,) of a sampling, (B,)."""


@LEVELS.register_module()
class TimestepLevel(ConditioningLevel):
    """The step itself, as in DDPM (Ho et al. 2020).

    Args:
        offset: What is added to the step, which is in 1..T: -1 for networks that count from 0, such as Stable
            Diffusion's.
    """

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset

    @override
    def check(self, training: Scheduler, sampling: Scheduler) -> None:
        """A step is a level of noise on its own schedule only."""
        if sampling is not training:
            raise ConfigError(
                "model.sampling_scheduler: a network that is given the step knows its own schedule only. Leave it out, "
                "or train with level=dict(type='NoiseLevel')."
            )

    @override
    def draw(self, scheduler: Scheduler, t: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`u` plays no part."""
        return *scheduler.marginal(t), t + self.offset

    @override
    def of_step(self, scheduler: Scheduler, t: Tensor) -> Tensor:
        return t + self.offset


@LEVELS.register_module()
class LogNormalLevel(ConditioningLevel):
    """A quarter of the logarithm of the noise over the signal, `log(sigma / a)`, whatever the process (EDM).

    In training that logarithm is normal, whatever the steps, so that most samples have the noise at which there is most
    to learn (Karras et al., NeurIPS 2022, table 1).

    Args:
        mean: Mean of the logarithm, for a of 1.
        std: Its standard deviation.
        scale: What the quarter is multiplied with: the usual embeddings expect a range of about 1000.

    Raises:
        ConfigError: `std` is not positive.
    """

    def __init__(self, mean: float = -1.2, std: float = 1.2, scale: float = 1000.0) -> None:
        if std <= 0:
            raise ConfigError(f"LogNormalLevel: std={std} must be positive.")
        self.mean, self.std, self.scale = mean, std, scale

    @override
    def check(self, training: Scheduler, sampling: Scheduler) -> None:
        """Both must be without a share of the signal that is lost, a of 1."""
        for scheduler in (training, sampling):
            a, _ = scheduler.marginal(scheduler.num_timesteps)
            if not torch.isclose(a, torch.ones_like(a)).all():
                raise ConfigError(
                    f"LogNormalLevel draws noise for a process that keeps the picture, EDMScheduler or VESDE; "
                    f"{type(scheduler).__name__} does not. Use level=dict(type='NoiseLevel')."
                )

    @override
    def draw(self, scheduler: Scheduler, t: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`t` plays no part."""
        # The ends of float32's numbers in [0, 1) are 5.5 standard deviations out; 0 itself would be infinitely far.
        logarithm = self.mean + self.std * torch.special.ndtri(u.double().clamp(min=2.0**-25))
        sigma = logarithm.exp().float().view(-1, 1, 1, 1)
        return torch.ones_like(sigma), sigma, self._told(logarithm.float())

    @override
    def of_step(self, scheduler: Scheduler, t: Tensor) -> Tensor:
        a, sigma = scheduler.marginal(t)
        return self._told((sigma / a).log().flatten())

    def _told(self, logarithm: Tensor) -> Tensor:
        return self.scale / 4 * logarithm


@LEVELS.register_module()
class NoiseLevel(ConditioningLevel):
    """The mean coefficient `a = sqrt(abar)`, continuous (WaveGrad, Chen et al. 2021, Algorithm 1; SR3 and Palette).

    In training it is uniform between those of step t and t - 1, so that a network can be sampled on any other
    variance-preserving schedule whose levels it has seen.

    Args:
        scale: What `a`, in (0, 1], is multiplied with: the usual embeddings expect a range of about 1000.
    """

    def __init__(self, scale: float = 1000.0) -> None:
        self.scale = scale

    @override
    def check(self, training: Scheduler, sampling: Scheduler) -> None:
        """Both schedules must preserve the variance, else `a` does not tell the noise."""
        for scheduler in (training, sampling):
            a, sigma = scheduler.marginal(scheduler.num_timesteps // 2)
            if not torch.isclose(a**2 + sigma**2, torch.ones_like(a), atol=1e-4).all():
                raise ConfigError(
                    f"NoiseLevel needs a variance-preserving process, such as DDPMScheduler or VPSDE; "
                    f"{type(scheduler).__name__} is none. Use level=dict(type='TimestepLevel')."
                )

    @override
    def draw(self, scheduler: Scheduler, t: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`a = u a_(t-1) + (1 - u) a_t`."""
        # Of the distance 1 - a, which float32 knows exactly where `a` itself is nearly 1.
        distance = torch.lerp(_below_one(scheduler, t), _below_one(scheduler, t - 1), u.view(-1, 1, 1, 1))
        a, sigma = 1 - distance, (distance * (2 - distance)).sqrt()
        return a, sigma, self.scale * a.flatten()

    @override
    def of_step(self, scheduler: Scheduler, t: Tensor) -> Tensor:
        return self.scale * scheduler.marginal(t)[0].flatten()


def _below_one(scheduler: Scheduler, t: Tensor) -> Tensor:
    """`1 - a_t` (B, 1, 1, 1)."""
    a, sigma = scheduler.marginal(t)
    return sigma**2 / (1 + a)
