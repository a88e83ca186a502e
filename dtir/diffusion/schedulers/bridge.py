"""What every process between a clean and a degraded picture offers."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from dtir.diffusion.schedulers.base import trailing_steps

PREDICTIONS = ("eps", "x0", "residual")


class Bridge(nn.Module, ABC):
    """A Gaussian process `x_t = a_t x_0 + b_t mu + sigma_t eps` from the clean picture x_0 to the degraded one, mu.

    A subclass gives `marginal`, `start` and `posterior`. Steps `t` are a tensor (B,), one per sample, or one int for
    the whole batch, 0 for the clean picture and T for the start of the reverse process; pictures are (B, C, H, W) in
    whatever domain the network works in. No method waits for the device.

    Args:
        num_timesteps: T.
        predicts: What a network is trained to predict: "eps", "x0", or "residual" (mu - x_0).

    Attributes:
        starts_noisy: Whether `start` has a use for noise; if not, a sampler draws none for it.
        continuous: Whether a network learns from times between the steps too, those of `time_at`. Where it does, all
            methods that are part of a training take a tensor of floating-point times in place of steps.
    """

    starts_noisy = True
    continuous = False

    def __init__(self, num_timesteps: int, predicts: str = "eps") -> None:
        super().__init__()
        self.num_timesteps = num_timesteps
        self.predicts = predicts

    @abstractmethod
    def marginal(self, t: int | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The coefficients `a_t` and `b_t` and the standard deviation `sigma_t`, each (B, 1, 1, 1)."""

    @abstractmethod
    def start(self, mu: Tensor, eps: Tensor) -> Tensor:
        """The state at T from which the published code samples, given degraded pictures and standard normal noise."""

    @abstractmethod
    def posterior(self, x_t: Tensor, x0: Tensor, mu: Tensor, t: int, t_prev: int) -> tuple[Tensor, Tensor]:
        """Mean (B, C, H, W) and variance, that broadcasts with it, of q(x_t_prev | x_t, x_0, mu), 0 <= t_prev < t."""

    def add_noise(self, x0: Tensor, mu: Tensor, eps: Tensor, t: int | Tensor) -> Tensor:
        """Draws from q(x_t | x_0, mu), with eps standard normal."""
        a, b, sigma = self.marginal(t)
        return a * x0 + b * mu + sigma * eps

    def implicit_step(
        self, x_t: Tensor, x0: Tensor, mu: Tensor, t: int | Tensor, t_prev: int | Tensor, noise: Tensor
    ) -> Tensor:
        """The state at t_prev with the noise that is in x_t, given the clean picture (Zheng et al., ICLR 2025).

        Where the state has no noise, at the start of a bridge from the degraded picture itself, `noise` is taken.
        """
        (a, b, sigma), (a_prev, b_prev, sigma_prev) = self.marginal(t), self.marginal(t_prev)
        eps = (x_t - a * x0 - b * mu) / sigma.clamp(min=torch.finfo(sigma.dtype).tiny)
        return a_prev * x0 + b_prev * mu + sigma_prev * torch.where(sigma > 0, eps, noise)

    def eps_from_x0(self, x_t: Tensor, x0: Tensor, mu: Tensor, t: int | Tensor) -> Tensor:
        """Noise that goes with `x0`; undefined (NaN) where `sigma_t` is 0."""
        a, b, sigma = self.marginal(t)
        return (x_t - a * x0 - b * mu) / sigma

    def x0_from_eps(self, x_t: Tensor, eps: Tensor, mu: Tensor, t: int | Tensor) -> Tensor:
        """Clean picture that goes with `eps`; `a_t` must not be 0."""
        a, b, sigma = self.marginal(t)
        return (x_t - b * mu - sigma * eps) / a

    def score_from_eps(self, eps: Tensor, t: int | Tensor) -> Tensor:
        """Score of q(x_t | mu); infinite where `sigma_t` is 0."""
        return -eps / self.marginal(t)[2]

    def x0_from_output(self, x_t: Tensor, out: Tensor, mu: Tensor, t: int | Tensor) -> Tensor:
        """Clean picture that goes with a network's output; see `predicts`."""
        if self.predicts == "x0":
            return out
        return mu - out if self.predicts == "residual" else self.x0_from_eps(x_t, out, mu, t)

    def eps_from_output(self, x_t: Tensor, out: Tensor, mu: Tensor, t: int | Tensor) -> Tensor:
        """Noise that goes with a network's output; see `predicts`."""
        if self.predicts == "eps":
            return out
        return self.eps_from_x0(x_t, self.x0_from_output(x_t, out, mu, t), mu, t)

    def target(self, x_t: Tensor, x0: Tensor, mu: Tensor, eps: Tensor, t: int | Tensor) -> Tensor:
        """What a network's output is trained to be for the state x_t, (B, C, H, W); see `predicts`."""
        if self.predicts == "eps":
            return eps
        return x0 if self.predicts == "x0" else mu - x0

    def network_input(self, x_t: Tensor, t: int | Tensor) -> tuple[Tensor, float | Tensor]:
        """What a published network is given: the state, perhaps scaled, and its number for the time step."""
        return x_t, t

    def time_at(self, place: Tensor) -> Tensor:
        """Times (B,) that a network learns from, at places (B,) in [0, 1) of their distribution.

        Raises:
            NotImplementedError: The process has steps alone, see `continuous`.
        """
        raise NotImplementedError(f"{type(self).__name__} has steps alone.")

    @property
    def last_trained(self) -> int:
        """The last step of 1..T whose states a network learns from."""
        return self.num_timesteps

    def sample_steps(self, n: int) -> list[int]:
        """Returns n descending steps from T, evenly spaced; a sampler goes from the last one to 0.

        Raises:
            ConfigError: n is not in 1..T.
        """
        return trailing_steps(self.num_timesteps, n)[::-1]

    def _at(self, values: Tensor, t: int | Tensor) -> Tensor:
        """Entries of a buffer (T + 1,) as (B, 1, 1, 1)."""
        if isinstance(t, int):
            if not 0 <= t <= self.num_timesteps:
                raise ValueError(f"t={t} is outside 0..{self.num_timesteps}.")
            return values[t].view(1, 1, 1, 1)
        return values.index_select(0, t.reshape(-1)).view(-1, 1, 1, 1)


class SDEBridge(Bridge):
    """A bridge that is the solution of a stochastic differential equation.

    The increments are those of the published reverse steps, from t to t_prev: a sampler subtracts them.
    """

    @abstractmethod
    def reverse_sde(
        self, x: Tensor, eps: Tensor, mu: Tensor, t: int | Tensor, t_prev: int | Tensor
    ) -> tuple[Tensor, Tensor]:
        """Drift (B, C, H, W) and standard deviation of the noise in a step of the reverse equation."""

    @abstractmethod
    def reverse_ode(self, x: Tensor, eps: Tensor, mu: Tensor, t: int, t_prev: int) -> Tensor:
        """Drift (B, C, H, W) in a step of the published deterministic equation."""


def register_arrays(module: nn.Module, **arrays: Tensor) -> None:
    """Keeps arrays of a schedule as buffers that are not saved in state dicts."""
    for name, array in arrays.items():
        module.register_buffer(name, torch.as_tensor(array, dtype=torch.float32), persistent=False)
