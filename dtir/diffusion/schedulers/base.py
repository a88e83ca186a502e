"""What every forward process offers; samplers, matching and restorers know nothing more of it."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from dtir.core.errors import ConfigError
from dtir.diffusion.domain import IMAGE_SCALE
from dtir.diffusion.predictions import LOSS_WEIGHTS

SPACINGS = ("trailing", "linspace", "karras")
KARRAS_RHO = 7.0


def trailing_steps(total: int, n: int) -> list[int]:
    """Returns n ascending steps of 1..total, evenly spaced and ending at `total` ("trailing" spacing).

    Raises:
        ConfigError: n is not in 1..total, so that the steps would not be distinct.

    Example:
        >>> trailing_steps(50, 5)
        [10, 20, 30, 40, 50]
    """
    if not 1 <= n <= total:
        raise ConfigError(f"cannot take {n} steps from a schedule of {total}: expected a number in 1..{total}.")
    return [(2 * total * i + n) // (2 * n) for i in range(1, n + 1)]


class Scheduler(nn.Module, ABC):
    """A Gaussian forward process `x_t = a_t x_0 + sigma_t eps` on centred images; t = 0 is the clean image.

    A subclass gives `marginal`; everything else follows from it. Steps `t` are a tensor (B,), one per sample, or one
    int for the whole batch; images are (B, C, H, W) in the centred domain [-1, 1]. No method waits for the device,
    except `nearest_timestep`, which is not meant for use inside a training or sampling step.

    Args:
        num_timesteps: T, the noisiest step.

    Example:
        >>> class Straight(Scheduler):
        ...     def marginal(self, t):
        ...         share = torch.as_tensor(t).view(-1, 1, 1, 1) / (self.num_timesteps + 1)
        ...         return 1 - share, share
        >>> process = Straight(num_timesteps=9)
        >>> process.sample_steps(3)
        [9, 6, 3]
        >>> x0, eps = torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
        >>> round(process.add_noise(x0, eps, 5).mean().item(), 4)
        0.5
    """

    def __init__(self, num_timesteps: int) -> None:
        super().__init__()
        self.num_timesteps = num_timesteps

    @abstractmethod
    def marginal(self, t: int | Tensor) -> tuple[Tensor, Tensor]:
        """Returns the mean coefficient `a_t` and the standard deviation `sigma_t`, each (B, 1, 1, 1)."""

    def add_noise(self, x0: Tensor, eps: Tensor, t: int | Tensor) -> Tensor:
        """Draws from q(x_t | x_0): `a_t x_0 + sigma_t eps`, with eps standard normal."""
        a, sigma = self.marginal(t)
        return a * x0 + sigma * eps

    def noise_scale(self, t: int | Tensor) -> Tensor:
        """Standard deviation of the noise of step t in image units ([0, 1] pictures), (B, 1, 1, 1): `sigma_t / 2`."""
        return self.marginal(t)[1] * IMAGE_SCALE

    def nearest_timestep(self, sigma: float) -> int:
        """Returns the step in 0..T whose `noise_scale` is nearest to `sigma` (image units), the smaller on a tie."""
        steps = torch.arange(self.num_timesteps + 1, device=self.marginal(0)[0].device)
        return int((self.noise_scale(steps).flatten().double() - sigma).abs().argmin())

    def sample_steps(self, n: int, spacing: str = "trailing") -> list[int]:
        """Descending steps from T, from the last of which a sampler goes to 0.

        Args:
            n: How many.
            spacing: "trailing", evenly spaced down to about T / n; "linspace", evenly spaced down to 1, as
                guided-diffusion respaces a schedule; or "karras", down to 1, with levels of noise
                `sigma / a` that are even in their seventh root (Karras et al., NeurIPS 2022), as near as the schedule
                has them. Steps that would be taken twice are taken once, so that these may be fewer.

        Raises:
            ConfigError: n is not in 1..T, or `spacing` is none of the three.
        """
        if spacing not in SPACINGS:
            raise ConfigError(f"spacing='{spacing}'; expected one of {', '.join(SPACINGS)}.")
        trailing = trailing_steps(self.num_timesteps, n)[::-1]
        if spacing == "linspace" and n > 1:
            stride = (self.num_timesteps - 1) / (n - 1)
            return [1 + round(k * stride) for k in reversed(range(n))]
        return self._karras_steps(n) if spacing == "karras" else trailing

    def _karras_steps(self, n: int) -> list[int]:
        steps = torch.arange(1, self.num_timesteps + 1, device=self.marginal(0)[0].device)
        a, sigma = (value.flatten().double() for value in self.marginal(steps))
        roots = (sigma / a) ** (1 / KARRAS_RHO)
        # From T, which is the only step where there is one.
        wanted = torch.linspace(roots[-1].item(), roots[0].item(), n, dtype=torch.float64, device=roots.device)
        nearest = (roots - wanted[:, None]).abs().argmin(1) + 1
        return sorted(set(nearest.tolist()), reverse=True)

    def loss_weight(self, t: Tensor, kind: str = "uniform", gamma: float = 5.0) -> Tensor:
        """Weight lambda_t (B,) of each sample's eps loss.

        Args:
            t: Steps (B,).
            kind: 'uniform' (1) or 'min_snr': `min(snr, gamma) / snr` with snr = a^2 / sigma^2 (Hang et al. 2023,
                for networks that predict eps); 0 at t = 0.
            gamma: Bound of min-SNR.

        Raises:
            ConfigError: `kind` is not one of these.
        """
        if kind not in LOSS_WEIGHTS:
            raise ConfigError(f"unknown loss weight '{kind}': expected one of {', '.join(LOSS_WEIGHTS)}.")
        a, sigma = (value.flatten() for value in self.marginal(t))
        return torch.ones_like(a) if kind == "uniform" else (gamma * (sigma / a) ** 2).clamp(max=1)

    # Conversions: eps is the pivot, v = a eps - sigma x0 (Salimans and Ho), score = grad log q(x_t) = -eps / sigma.
    # They hold for any a and sigma, not only where a^2 + sigma^2 = 1.

    def x0_from_eps(self, x_t: Tensor, eps: Tensor, t: int | Tensor) -> Tensor:
        """Clean image that goes with `eps`; `a_t` must not be 0."""
        a, sigma = self.marginal(t)
        return (x_t - sigma * eps) / a

    def eps_from_x0(self, x_t: Tensor, x0: Tensor, t: int | Tensor) -> Tensor:
        """Noise that goes with `x0`; undefined (NaN) at t = 0, where there is none."""
        a, sigma = self.marginal(t)
        return (x_t - a * x0) / sigma

    def v_from_eps(self, x_t: Tensor, eps: Tensor, t: int | Tensor) -> Tensor:
        """Velocity `a eps - sigma x0` that goes with `eps`."""
        a, sigma = self.marginal(t)
        return a * eps - sigma * (x_t - sigma * eps) / a

    def eps_from_v(self, x_t: Tensor, v: Tensor, t: int | Tensor) -> Tensor:
        """Noise that goes with the velocity `v`."""
        a, sigma = self.marginal(t)
        return (sigma * x_t + a * v) / (a**2 + sigma**2)

    def x0_from_v(self, x_t: Tensor, v: Tensor, t: int | Tensor) -> Tensor:
        """Clean image that goes with the velocity `v`; defined even where `a_t` is 0."""
        a, sigma = self.marginal(t)
        return (a * x_t - sigma * v) / (a**2 + sigma**2)

    def score_from_eps(self, eps: Tensor, t: int | Tensor) -> Tensor:
        """Score of the noisy density; infinite at t = 0."""
        return -eps / self.marginal(t)[1]

    def eps_from_score(self, score: Tensor, t: int | Tensor) -> Tensor:
        """Noise that goes with the score."""
        return -score * self.marginal(t)[1]

    def step_variance(self, t: int | Tensor, t_prev: int | Tensor) -> Tensor:
        """Variance of q(x_t | x_t_prev), (B, 1, 1, 1), for t_prev <= t: `sigma_t^2 - (a_t / a_prev)^2 sigma_prev^2`."""
        (a, sigma), (a_prev, sigma_prev) = self.marginal(t), self.marginal(t_prev)
        carried = a / a_prev * sigma_prev
        # As a product of sum and difference: the difference of squares cancels in float32 between close steps.
        return (sigma - carried) * (sigma + carried)

    def posterior(
        self, x_t: Tensor, x0: Tensor, t: int | Tensor, t_prev: int | Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Exact mean (B, C, H, W) and variance (B, 1, 1, 1) of q(x_t_prev | x_t, x_0), Ho et al. 2020, Eq. 6-7.

        Args:
            x_t: Noisy images at step t.
            x0: Clean images.
            t: Steps in 1..T.
            t_prev: Steps under t that are gone to, t - 1 if None.
        """
        t_prev = t - 1 if t_prev is None else t_prev
        (a, sigma), (a_prev, sigma_prev) = self.marginal(t), self.marginal(t_prev)
        step = self.step_variance(t, t_prev)
        mean = (a_prev * step * x0 + a / a_prev * sigma_prev**2 * x_t) / sigma**2
        return mean, sigma_prev**2 * step / sigma**2
