"""The stochastic differential equations of score-based models (Song et al., ICLR 2021)."""

from abc import abstractmethod

import torch
from torch import Tensor

from dtir.core.errors import ConfigError
from dtir.diffusion.schedulers.base import Scheduler
from dtir.diffusion.schedulers.bridge import register_arrays
from dtir.registry import SCHEDULERS


class SDEScheduler(Scheduler):
    """`dx = f(t) x dt + g(t) dW` on times in [0, 1], of which step t of 0..N is t / N.

    Args:
        N: Steps.

    Attributes:
        times: Buffer (N + 1,) of times.
        mean_coefs: Buffer (N + 1,) of `a_t`.
        stds: Buffer (N + 1,) of `sigma_t`.

    Raises:
        ConfigError: N is less than 1.
    """

    times: Tensor
    mean_coefs: Tensor
    stds: Tensor

    def __init__(self, N: int) -> None:
        super().__init__(N)
        if N < 1:
            raise ConfigError(f"{type(self).__name__}: N={N} must be at least 1.")
        times = torch.linspace(0, 1, N + 1, dtype=torch.float64)
        mean_coefs, stds = self._moments(times)
        drifts, squared = self._coefficients(times)
        register_arrays(self, times=times, mean_coefs=mean_coefs, stds=stds, drifts=drifts, squared=squared)

    @abstractmethod
    def _moments(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """`a_t` and `sigma_t` at times (N + 1,)."""

    @abstractmethod
    def _coefficients(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """`f(t)` and `g(t)^2` at times (N + 1,)."""

    def marginal(self, t: int | Tensor) -> tuple[Tensor, Tensor]:
        """As `Scheduler.marginal`.

        Raises:
            ValueError: t is an int outside 0..N.
        """
        return self._at(self.mean_coefs, t), self._at(self.stds, t)

    def equation(self, t: int, t_prev: int) -> tuple[Tensor, Tensor, Tensor]:
        """`f(t)`, `g(t)^2` and the length of the step from t to t_prev, scalars."""
        return self.drifts[t], self.squared[t], self.times[t] - self.times[t_prev]

    def _at(self, values: Tensor, t: int | Tensor) -> Tensor:
        if isinstance(t, int):
            if not 0 <= t <= self.num_timesteps:
                raise ValueError(f"t={t} is outside 0..{self.num_timesteps}.")
            return values[t].view(1, 1, 1, 1)
        return values.index_select(0, t.reshape(-1)).view(-1, 1, 1, 1)


@SCHEDULERS.register_module()
class VPSDE(SDEScheduler):
    """The variance-preserving equation, the limit of DDPM: `f = -beta / 2`, `g^2 = beta`, beta linear in time.

    Args:
        beta_min: Beta at time 0.
        beta_max: Beta at time 1.
        N: Steps.
    """

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0, N: int = 1000) -> None:
        self.beta_min, self.beta_max = beta_min, beta_max
        super().__init__(N)

    def _moments(self, times: Tensor) -> tuple[Tensor, Tensor]:
        integral = 0.5 * times**2 * (self.beta_max - self.beta_min) + times * self.beta_min
        return torch.exp(-0.5 * integral), (-torch.expm1(-integral)).sqrt()

    def _coefficients(self, times: Tensor) -> tuple[Tensor, Tensor]:
        beta = self.beta_min + times * (self.beta_max - self.beta_min)
        return -0.5 * beta, beta


@SCHEDULERS.register_module()
class VESDE(SDEScheduler):
    """The variance-exploding equation: no drift, `sigma_t = sigma_min (sigma_max / sigma_min)^t`.

    As published, `sigma_t` is that of the whole noise, so that a little is left at t = 0, where the clean picture is
    taken to be.

    Args:
        sigma_min: Standard deviation at time 0.
        sigma_max: Standard deviation at time 1.
        N: Steps.

    Raises:
        ConfigError: The standard deviations are not positive and ascending.
    """

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0, N: int = 1000) -> None:
        if not 0 < sigma_min < sigma_max:
            raise ConfigError(f"VESDE: 0 < sigma_min={sigma_min} < sigma_max={sigma_max} does not hold.")
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        super().__init__(N)

    def _moments(self, times: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(times), self.sigma_min * (self.sigma_max / self.sigma_min) ** times

    def _coefficients(self, times: Tensor) -> tuple[Tensor, Tensor]:
        _, sigma = self._moments(times)
        log_ratio = torch.log(torch.tensor(self.sigma_max / self.sigma_min, dtype=times.dtype))
        return torch.zeros_like(times), 2 * sigma**2 * log_ratio
