"""Mean-reverting processes: IR-SDE (Luo et al., "Image Restoration with Mean-Reverting Stochastic Differential
Equations", ICML 2023) and its denoising variant."""

import math

import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.schedulers.bridge import SDEBridge, register_arrays
from dtir.registry import SCHEDULERS

MAX_LEVEL = 255


def _constant(n: int) -> Tensor:
    return torch.ones(n)


def _linear(n: int) -> Tensor:
    scale = 1000 / n
    return torch.linspace(scale * 1e-4, scale * 0.02, n)


def _cosine(n: int, s: float = 0.008) -> Tensor:
    x = torch.linspace(0, n + 1, n + 2)
    alphas_cumprod = torch.cos((x / (n + 1) + s) / (1 + s) * math.pi * 0.5) ** 2
    return 1 - (alphas_cumprod / alphas_cumprod[0])[1:-1]


THETA_SCHEDULES = {"constant": _constant, "linear": _linear, "cosine": _cosine}


def level(sigma: float) -> float:
    """A noise level in [0, 1] pictures; numbers from 1 on are meant for 8-bit ones."""
    return sigma / MAX_LEVEL if sigma >= 1 else sigma


class MeanReverting(SDEBridge):
    """`dx = theta_t (mu - x) dt + sigma_t dW` with `sigma_t^2 = 2 lambda^2 theta_t`, which ends near `mu + lambda eps`.

    The arrays are computed in float32 in the order of the published code, so that they are equal to its.

    Args:
        stationary: lambda, the standard deviation at the end.
        num_timesteps: T.
        schedule: "constant", "linear" or "cosine".
        eps: Share of the difference to mu that is left at T.

    Attributes:
        thetas: Buffer (T + 1,) of `theta_t`; index 0 is not used.
        sigmas: Buffer (T + 1,) of `sigma_t`.
        thetas_cumsum: Buffer (T + 1,) of the sums of theta up to t, 0 at t = 0.
        sigma_bars: Buffer (T + 1,), the standard deviation of x_t.
        dt: Length of a step.

    Raises:
        ConfigError: An argument is outside its range.
    """

    thetas: Tensor
    sigmas: Tensor
    thetas_cumsum: Tensor
    sigma_bars: Tensor

    def __init__(self, stationary: float, num_timesteps: int, schedule: str, eps: float) -> None:
        super().__init__(num_timesteps)
        kind = type(self).__name__
        if schedule not in THETA_SCHEDULES:
            raise ConfigError(f"{kind}: unknown schedule '{schedule}'; expected one of {', '.join(THETA_SCHEDULES)}.")
        if num_timesteps < 1 or not 0 < eps < 1 or stationary <= 0:
            raise ConfigError(
                f"{kind}: T={num_timesteps} must be at least 1, eps={eps} between 0 and 1, and the noise level "
                f"{stationary:g} positive."
            )
        self.stationary = stationary
        thetas = THETA_SCHEDULES[schedule](num_timesteps + 1)
        thetas_cumsum = torch.cumsum(thetas, dim=0) - thetas[0]
        dt = -1 / thetas_cumsum[-1] * math.log(eps)
        self.dt = dt.item()
        register_arrays(
            self,
            thetas=thetas,
            sigmas=torch.sqrt(stationary**2 * 2 * thetas),
            thetas_cumsum=thetas_cumsum,
            sigma_bars=torch.sqrt(stationary**2 * (1 - torch.exp(-2 * thetas_cumsum * dt))),
        )

    def remaining(self, t: int | Tensor) -> Tensor:
        """Share of the difference to mu that is left at t, (B, 1, 1, 1): `exp(-theta_bar_t)`."""
        return torch.exp(-self._passed(t))

    def _passed(self, t: int | Tensor) -> Tensor:
        """`theta_bar_t`, (B, 1, 1, 1)."""
        return self._at(self.thetas_cumsum, t) * self.dt

    def integral(self, t: int | Tensor, t_prev: int | Tensor) -> Tensor:
        """Theta integrated from t_prev to t: a scalar, or (B, 1, 1, 1) for steps (B,)."""
        if isinstance(t, int):
            return self.thetas[t_prev + 1 : t + 1].sum() * self.dt
        return (self._at(self.thetas_cumsum, t) - self._at(self.thetas_cumsum, t_prev)) * self.dt

    def posterior(
        self, x_t: Tensor, x0: Tensor, mu: Tensor, t: int | Tensor, t_prev: int | Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `Bridge.posterior`: the published "optimum" step, where t_prev is t - 1."""
        rate = self.integral(t, t_prev)
        step, now, before = torch.exp(-rate), self.remaining(t), self.remaining(t_prev)
        gone = 1 - now**2
        mean = step * (1 - before**2) / gone * (x_t - mu) + before * (1 - step**2) / gone * (x0 - mu) + mu
        # The published order of operations again: what is left of 1 in short steps is rounding for the most part.
        fresh, gone_prev, gone = (1 - torch.exp(-2 * part) for part in (rate, *map(self._passed, (t_prev, t))))
        return mean, self.stationary**2 * fresh * gone_prev / gone


@SCHEDULERS.register_module()
class IRSDE(MeanReverting):
    """IR-SDE: `x_t = mu + exp(-theta_bar_t) (x_0 - mu) + sigma_bar_t eps`, on pictures in [0, 1].

    Args:
        max_sigma: lambda, the standard deviation at the end; from 1 on for 8-bit pictures.
        T: Steps of the process that the network knows.
        schedule: "constant", "linear" or "cosine".
        eps: Share of the difference to mu that is left at T. Published configs use 0.005.
        sample_T: Steps of the process that is sampled, T by default (DA-CLIP).

    Attributes:
        sample_scale: `T / sample_T`, with which a step of the sampled process is one of the network's.
    """

    def __init__(
        self, max_sigma: float, T: int = 100, schedule: str = "cosine", eps: float = 0.01, sample_T: int | None = None
    ) -> None:
        sampled = T if sample_T is None or sample_T < 0 else sample_T
        super().__init__(level(max_sigma), sampled, schedule, eps)
        self.T, self.sample_T, self.sample_scale = T, sampled, T / sampled
        self.max_sigma = self.stationary

    @override
    def marginal(self, t: int | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The first two sum to 1."""
        left = self.remaining(t)
        return left, 1 - left, self._at(self.sigma_bars, t)

    @override
    def x0_from_eps(self, x_t: Tensor, eps: Tensor, mu: Tensor, t: int | Tensor) -> Tensor:
        """The clean picture, computed in the published order: 1 / eps enlarges rounding errors at T."""
        return (x_t - mu - self._at(self.sigma_bars, t) * eps) * torch.exp(self._passed(t)) + mu

    def start(self, mu: Tensor, eps: Tensor) -> Tensor:
        """`mu + max_sigma eps`."""
        return mu + eps * self.max_sigma

    def network_input(self, x_t: Tensor, t: int | Tensor) -> tuple[Tensor, float | Tensor]:
        """The state and its time step in the process that the network knows."""
        return x_t, t * self.sample_scale

    @override
    def reverse_sde(
        self, x: Tensor, eps: Tensor, mu: Tensor, t: int | Tensor, t_prev: int | Tensor
    ) -> tuple[Tensor, Tensor]:
        """Equation 8 of the paper."""
        rate = self.integral(t, t_prev)
        squared = 2 * self.max_sigma**2 * rate
        return rate * (mu - x) - squared * self.score_from_eps(eps, t), squared.sqrt()

    @override
    def reverse_ode(self, x: Tensor, eps: Tensor, mu: Tensor, t: int, t_prev: int) -> Tensor:
        """The probability-flow equation."""
        rate = self.integral(t, t_prev)
        return rate * (mu - x) - self.max_sigma**2 * rate * self.score_from_eps(eps, t)


@SCHEDULERS.register_module()
class DenoisingSDE(MeanReverting):
    """IR-SDE's process for Gaussian noise: the clean picture is its own mean, `x_t = x_0 + sigma_bar_t eps`.

    A picture with noise of standard deviation sigma is the state of step `optimal_timestep(sigma)`.

    Args:
        max_sigma: Standard deviation at the end; from 1 on for 8-bit pictures.
        T: Steps.
        schedule: "constant", "linear" or "cosine".
    """

    # Fixed in the published code.
    EPS = 0.04
    starts_noisy = False

    def __init__(self, max_sigma: float, T: int = 100, schedule: str = "cosine") -> None:
        super().__init__(level(max_sigma), T, schedule, self.EPS)
        self.max_sigma = self.stationary

    @override
    def marginal(self, t: int | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The coefficient of mu is 0."""
        sigma = self._at(self.sigma_bars, t)
        return torch.ones_like(sigma), torch.zeros_like(sigma), sigma

    def start(self, mu: Tensor, eps: Tensor) -> Tensor:
        """`mu`: the noisy picture, whose step is `optimal_timestep`."""
        return mu

    @override
    def posterior(self, x_t: Tensor, x0: Tensor, mu: Tensor, t: int, t_prev: int) -> tuple[Tensor, Tensor]:
        """With the clean picture as the mean."""
        return super().posterior(x_t, x0, x0, t, t_prev)

    @override
    def reverse_sde(
        self, x: Tensor, eps: Tensor, mu: Tensor, t: int | Tensor, t_prev: int | Tensor
    ) -> tuple[Tensor, Tensor]:
        """X_0 in the drift is the one that goes with `eps`."""
        squared = 2 * self.max_sigma**2 * self.integral(t, t_prev)
        return -0.5 * squared * (1 + self.remaining(t) ** 2) * self.score_from_eps(eps, t), squared.sqrt()

    @override
    def reverse_ode(self, x: Tensor, eps: Tensor, mu: Tensor, t: int, t_prev: int) -> Tensor:
        squared = 2 * self.max_sigma**2 * self.integral(t, t_prev)
        return -0.5 * squared * self.remaining(t) ** 2 * self.score_from_eps(eps, t)

    def optimal_timestep(self, sigma: float, eps: float = 1e-6) -> int:
        """The step whose noise is nearest to the standard deviation `sigma`, from 1 on for 8-bit pictures.

        Raises:
            ValueError: The process never has so much noise.
        """
        share = 1 - level(sigma) ** 2 / self.max_sigma**2 + eps
        if share <= 0:
            raise ValueError(f"sigma={sigma} is more than the process ends with, max_sigma={self.max_sigma:g}.")
        return int((self.thetas_cumsum + math.log(share) / (2 * self.dt)).abs().argmin())
