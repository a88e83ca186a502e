"""Straight paths between the clean picture and the degraded one, or noise: InDI, cold diffusion, rectified flow."""

import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.schedulers.bridge import Bridge
from dtir.registry import SCHEDULERS


class StraightPath(Bridge):
    """`x_t = (1 - t/T) x_0 + t/T mu + t/T noise eps`.

    Args:
        num_timesteps: T.
        predicts: As in `Bridge`; "velocity" is `dx/d(t/T)`, `mu - x_0` where there is no noise.
        noise: Standard deviation of the noise at T.
        continuous: Whether a network learns from all times, uniform in 0..T, as published for flows and InDI; else from
            the steps alone. A step that is a tensor of floats is such a time.

    Raises:
        ConfigError: T or the noise is negative.
    """

    def __init__(self, num_timesteps: int, predicts: str, noise: float = 0.0, continuous: bool = False) -> None:
        super().__init__(num_timesteps, predicts)
        if num_timesteps < 1 or noise < 0:
            raise ConfigError(
                f"{type(self).__name__}: num_timesteps={num_timesteps} must be at least 1 and noise={noise} not "
                "negative."
            )
        self.noise, self.starts_noisy, self.continuous = noise, noise > 0, continuous
        self.register_buffer("places", torch.arange(num_timesteps + 1) / num_timesteps, persistent=False)

    @override
    def marginal(self, t: int | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The first two sum to 1."""
        place = self._place(t)
        return 1 - place, place, place * self.noise

    @override
    def time_at(self, place: Tensor) -> Tensor:
        """Uniform in 0..T, without 0."""
        return (1 - place) * self.num_timesteps

    def _place(self, t: int | Tensor) -> Tensor:
        """`t/T`, (B, 1, 1, 1)."""
        if isinstance(t, Tensor) and t.is_floating_point():
            return (t / self.num_timesteps).view(-1, 1, 1, 1)
        return self._at(self.places, t)

    def start(self, mu: Tensor, eps: Tensor) -> Tensor:
        """`mu + noise eps`."""
        return mu + self.noise * eps

    @override
    def posterior(self, x_t: Tensor, x0: Tensor, mu: Tensor, t: int, t_prev: int) -> tuple[Tensor, Tensor]:
        """On the line from the state to `x0`, without further noise (InDI, equation 7)."""
        share = t_prev / t
        mean = share * x_t + (1 - share) * x0
        return mean, torch.zeros_like(self.places[:1]).view(1, 1, 1, 1)

    @override
    def x0_from_output(self, x_t: Tensor, out: Tensor, mu: Tensor, t: int | Tensor) -> Tensor:
        """The clean picture by a predicted velocity, `x_t - t/T out`."""
        if self.predicts == "velocity":
            return x_t - self._place(t) * out
        return super().x0_from_output(x_t, out, mu, t)

    @override
    def target(self, x_t: Tensor, x0: Tensor, mu: Tensor, eps: Tensor, t: int | Tensor) -> Tensor:
        """A velocity is `mu + noise eps - x_0` at every t."""
        if self.predicts == "velocity":
            return mu + self.noise * eps - x0
        return super().target(x_t, x0, mu, eps, t)

    def network_input(self, x_t: Tensor, t: int | Tensor) -> tuple[Tensor, float | Tensor]:
        """The state, and t/T in (0, 1]."""
        return x_t, t / self.num_timesteps


@SCHEDULERS.register_module()
class InDI(StraightPath):
    """Inversion by direct iteration (Delbracio and Milanfar, TMLR 2023); a network predicts x_0.

    Args:
        num_timesteps: T.
        noise: Standard deviation of the noise that is added to the degraded picture, against an exact copy of it.
        continuous: As in `StraightPath`.
    """

    def __init__(self, num_timesteps: int = 100, noise: float = 0.01, continuous: bool = False) -> None:
        super().__init__(num_timesteps, "x0", noise, continuous)


@SCHEDULERS.register_module()
class ColdDiffusion(StraightPath):
    """Cold diffusion (Bansal et al., NeurIPS 2023) whose degradation fades in the degraded picture; no noise.

    Sample it with `ColdSampler`; a network predicts x_0.

    Args:
        num_timesteps: T.
    """

    def __init__(self, num_timesteps: int = 100) -> None:
        super().__init__(num_timesteps, "x0")


@SCHEDULERS.register_module()
class RectifiedFlow(StraightPath):
    """Flow matching on straight paths (Lipman et al., ICLR 2023; Liu et al., ICLR 2023); a network predicts velocity.

    The other end, `mu`, is the degraded picture, or noise for generation. `PosteriorSampler` takes Euler steps.

    Args:
        num_timesteps: T.
        noise: Standard deviation of the noise at `mu`.
        continuous: As in `StraightPath`.
    """

    def __init__(self, num_timesteps: int = 100, noise: float = 0.0, continuous: bool = False) -> None:
        super().__init__(num_timesteps, "velocity", noise, continuous)


def optimal_transport_pairs(x0: Tensor, x1: Tensor, condition: Tensor | None = None) -> Tensor:
    """Which sample of x1 each one of x0 is paired with: the assignment with the least sum of squared distances.

    Pairs of a batch then rarely cross, so that paths are straighter (Tong et al., TMLR 2024; Pooladian et al., 2023).
    Where a network is given a condition, samples change places only within one condition: else the noise that it sees
    in training depends on the condition, and that of a sampling does not (Cheng and Schwing, "The Curse of Conditions",
    2025). Pictures that are all different therefore keep the noise that was drawn for them.

    Args:
        x0: Samples (B, ...).
        x1: Samples (B, ...) of the other end, such as noise.
        condition: What the network is given for each of x0, (B, ...); None for nothing.

    Returns:
        Indices (B,) into x1.
    """
    groups = torch.zeros(len(x0), dtype=torch.long)
    if condition is not None:
        groups = torch.unique(condition.flatten(1).cpu(), dim=0, return_inverse=True)[1]
    pairs = torch.arange(len(x0))
    for group in groups.unique():
        (members,) = torch.nonzero(groups == group, as_tuple=True)
        if len(members) > 1:
            pairs[members] = members[_assignment(x0[members.to(x0.device)], x1[members.to(x1.device)])]
    return pairs.to(x0.device)


def _assignment(x0: Tensor, x1: Tensor) -> Tensor:
    from scipy.optimize import linear_sum_assignment

    distances = torch.cdist(x0.flatten(1).double(), x1.flatten(1).double()).square()
    return torch.as_tensor(linear_sum_assignment(distances.cpu().numpy())[1])
