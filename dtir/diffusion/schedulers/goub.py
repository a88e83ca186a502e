"""The generalised Ornstein-Uhlenbeck bridge (Yue et al., "Image Restoration Through Generalized Ornstein-Uhlenbeck
Bridge", ICML 2024)."""

import torch
from torch import Tensor
from typing_extensions import override

from dtir.diffusion.schedulers.bridge import register_arrays
from dtir.diffusion.schedulers.irsde import MeanReverting, level
from dtir.registry import SCHEDULERS


@SCHEDULERS.register_module()
class GOUB(MeanReverting):
    """IR-SDE's process, made to end in mu exactly by Doob's h-transform, on pictures in [0, 1].

    Args:
        lambda_square: lambda, under its published name: its square is the stationary variance; from 1 on for 8-bit
            pictures.
        T: Steps.
        schedule: "constant", "linear" or "cosine".
        eps: `exp(-theta_bar_T)`. Published configs use 0.005.

    Attributes:
        sigma_t_T: Buffer (T + 1,), the standard deviation of the free process from t to T.
        f_sigmas: Buffer (T + 1,), the standard deviation of x_t, 0 at both ends.
    """

    sigma_t_T: Tensor  # noqa: N815 as published
    f_sigmas: Tensor

    starts_noisy = False

    def __init__(self, lambda_square: float, T: int = 100, schedule: str = "cosine", eps: float = 0.01) -> None:
        super().__init__(level(lambda_square), T, schedule, eps)
        self.lambda_square = self.stationary
        left = torch.exp(-2 * (self.thetas_cumsum[-1] - self.thetas_cumsum) * self.dt)
        sigma_t_T = torch.sqrt(self.lambda_square**2 * (1 - left))
        register_arrays(self, sigma_t_T=sigma_t_T, f_sigmas=self.sigma_bars * sigma_t_T / self.sigma_bars[-1])

    @override
    def marginal(self, t: int | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The published m, n and f_sigma."""
        until, after = self._at(self.sigma_bars, t) ** 2, self._at(self.sigma_t_T, t) ** 2
        left, total = self.remaining(t), self.sigma_bars[-1] ** 2
        rest = torch.exp(-2 * (self.thetas_cumsum[-1] - self._at(self.thetas_cumsum, t)) * self.dt)
        return left * after / total, ((1 - left) * after + rest * until) / total, self._at(self.f_sigmas, t)

    def start(self, mu: Tensor, eps: Tensor) -> Tensor:
        """`mu`, without noise."""
        return mu

    @property
    def last_trained(self) -> int:
        """T - 1: at T the state is `mu`, without noise to predict."""
        return self.num_timesteps - 1

    @override
    def posterior(
        self, x_t: Tensor, x0: Tensor, mu: Tensor, t: int | Tensor, t_prev: int | Tensor
    ) -> tuple[Tensor, Tensor]:
        """From T, where the state tells nothing of x_0, it is the marginal at t_prev."""
        m_prev, n_prev, sigma_prev = self.marginal(t_prev)
        mean_prev = m_prev * x0 + n_prev * mu
        if isinstance(t, int) and t == self.num_timesteps:
            return mean_prev, sigma_prev**2
        m, n, sigma = self.marginal(t)
        f_m = m / m_prev
        # Of q(x_t | x_t_prev, mu).
        variance = sigma**2 - (sigma_prev * f_m) ** 2
        mean = (sigma_prev**2 * f_m * (x_t - (n - n_prev * f_m) * mu) + variance * mean_prev) / sigma**2
        return mean, variance * sigma_prev**2 / sigma**2

    @override
    def reverse_sde(
        self, x: Tensor, eps: Tensor, mu: Tensor, t: int | Tensor, t_prev: int | Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.reverse_ode(x, eps, mu, t, t_prev), (2 * self.lambda_square**2 * self.integral(t, t_prev)).sqrt()

    @override
    def reverse_ode(self, x: Tensor, eps: Tensor, mu: Tensor, t: int | Tensor, t_prev: int | Tensor) -> Tensor:
        """The published mean ODE, which is the reverse equation without its noise.

        At T, where nothing is known of x_0, the score and the pull of the h-transform are left out, as published."""
        rate = self.integral(t, t_prev)
        drift = rate * (mu - x)
        if isinstance(t, int) and t == self.num_timesteps:
            return drift
        rest = torch.exp(2 * (self._at(self.thetas_cumsum, t) - self.thetas_cumsum[-1]) * self.dt)
        squared = 2 * self.lambda_square**2 * rate
        pull = rest / self._at(self.sigma_t_T, t) ** 2 * (mu - x)
        return drift + squared * (pull - self.score_from_eps(eps, t))
