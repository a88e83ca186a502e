"""Denoising diffusion bridge models (Zhou et al., ICLR 2024)."""

import math

import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.schedulers.bridge import Bridge, register_arrays
from dtir.registry import SCHEDULERS

# Of the published sampler's first time to the end.
END_GAP = 1e-4


@SCHEDULERS.register_module()
class DDBM(Bridge):
    """A variance-exploding or -preserving diffusion, made to end in mu by Doob's h-transform, on centred pictures.

    The free process is `x_t = alpha_t x_0 + sigma_t eps`; with `r_t = SNR_T / SNR_t` the bridge is
    `x_t = alpha_t (1 - r_t) x_0 + r_t alpha_t / alpha_T mu + sigma_t sqrt(1 - r_t) eps` (equation 8 of the paper).

    Args:
        kind: "ve" (alpha 1, sigma the time) or "vp" (`alpha_t = exp(-beta_d t^2 / 4 - beta_min t / 2)`).
        num_timesteps: T, the steps of the sampler's grid of times (Karras et al. 2022).
        sigma_min: First time of the grid.
        sigma_max: Last time; the published values are 80 for "ve" and 1 for "vp".
        rho: Exponent of the grid.
        beta_d: Parameter of "vp".
        beta_min: Parameter of "vp".
        predicts: "x0", or "preconditioned": what is left of x_0 after the state's own share, in inputs and targets of
            unit variance (section 4 of the paper).
        sigma_data: Standard deviation of the pictures that the preconditioning assumes.
        cov_xy: Covariance of clean and degraded pictures that it assumes; half the square of `sigma_data` by default.

    Where a step `t` is a float, or a tensor of such, it is a continuous time itself: `DDBMSampler` asks between two
    steps, and a network learns from times that are uniform in `sigma_min..sigma_max`, as published.

    Published trainings have `sigma_min` 1e-4, `sigma_max` 1 and `cov_xy` 0 for "vp", 0.002, 80 and 0 for "ve".

    Attributes:
        times: Buffer (num_timesteps + 1,) of continuous times, 0 at t = 0.
        alphas: Buffer (num_timesteps + 1,) of `alpha_t`.
        sigmas: Buffer (num_timesteps + 1,) of `sigma_t`.

    Raises:
        ConfigError: `kind` is neither, or the times are not positive and ascending.
    """

    times: Tensor
    alphas: Tensor
    sigmas: Tensor

    starts_noisy = False
    continuous = True

    def __init__(
        self,
        kind: str = "ve",
        num_timesteps: int = 40,
        sigma_min: float = 0.002,
        sigma_max: float | None = None,
        rho: float = 7.0,
        beta_d: float = 2.0,
        beta_min: float = 0.1,
        predicts: str = "x0",
        sigma_data: float = 0.5,
        cov_xy: float | None = None,
    ) -> None:
        super().__init__(num_timesteps, predicts)
        if predicts not in ("x0", "preconditioned") or sigma_data <= 0:
            raise ConfigError(
                f"DDBM: predicts='{predicts}' must be 'x0' or 'preconditioned', and sigma_data={sigma_data} positive."
            )
        self.sigma_data, self.cov_xy = sigma_data, sigma_data**2 / 2 if cov_xy is None else cov_xy
        sigma_max = {"ve": 80.0, "vp": 1.0}.get(kind) if sigma_max is None else sigma_max
        if kind not in ("ve", "vp") or num_timesteps < 2 or not 0 < sigma_min < sigma_max:
            raise ConfigError(
                f"DDBM: kind='{kind}' must be 've' or 'vp', num_timesteps={num_timesteps} at least 2, and "
                f"0 < sigma_min={sigma_min} < sigma_max={sigma_max}."
            )
        self.kind, self.beta_d, self.beta_min = kind, beta_d, beta_min
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        times = karras_times(num_timesteps, sigma_min, sigma_max, rho)
        # Those of the published sampler, which starts where the pull towards mu is still finite.
        self.sampled_times = karras_times(num_timesteps, sigma_min, sigma_max - END_GAP, rho).tolist()
        alphas, sigmas = self.free(times)
        of_x0, of_mu, spread = self._coefficients(times)
        register_arrays(self, times=times, alphas=alphas, sigmas=sigmas, of_x0=of_x0, of_mu=of_mu, spread=spread)
        # Step 0 is no input of a network.
        logarithms = 250 * times.clamp(min=times[1]).log()
        self.register_buffer("told_log", logarithms.float(), persistent=False)
        self.told = (times if predicts == "x0" else logarithms).tolist()

    @override
    def time_at(self, place: Tensor) -> Tensor:
        """Uniform in `sigma_min..sigma_max`."""
        return self.sigma_min + place * (self.sigma_max - self.sigma_min)

    def free(self, time: float | Tensor) -> tuple[Tensor, Tensor]:
        """`alpha` and `sigma` of the free process at times of any shape; float64."""
        time = torch.as_tensor(time, dtype=torch.float64)
        if self.kind == "ve":
            return torch.ones_like(time), time
        integral = 0.5 * self.beta_d * time**2 + self.beta_min * time
        return torch.exp(-0.5 * integral), (-torch.expm1(-integral)).sqrt()

    def rates(self, time: float) -> tuple[float, float]:
        """`f` and `g^2` of the free process `dx = f x dt + g dW` at a time."""
        if self.kind == "ve":
            return 0.0, 2 * time
        beta = self.beta_d * time + self.beta_min
        return -0.5 * beta, beta

    def snr_ratio(self, time: float | Tensor) -> Tensor:
        """`SNR_T / SNR_t`, of the shape of the times; float64."""
        (alpha, sigma), (alpha_end, sigma_end) = self.free(time), self.free(self.sigma_max)
        return (alpha_end / sigma_end * sigma / alpha) ** 2

    @override
    def marginal(self, t: int | float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if isinstance(t, float):
            return tuple(self.times.new_full((1, 1, 1, 1), value.item()) for value in self._coefficients(t))
        if isinstance(t, Tensor) and t.is_floating_point():
            return tuple(value.to(self.times.dtype).view(-1, 1, 1, 1) for value in self._coefficients(t))
        return self._at(self.of_x0, t), self._at(self.of_mu, t), self._at(self.spread, t)

    def _coefficients(self, time: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (alpha, sigma), ratio = self.free(time), self.snr_ratio(time)
        # Rounding may bring the ratio above 1 at the end.
        left = (1 - ratio).clamp(min=0)
        return alpha * left, ratio * alpha / self.free(self.sigma_max)[0], sigma * left.sqrt()

    def start(self, mu: Tensor, eps: Tensor) -> Tensor:
        """`mu`, without noise."""
        return mu

    @override
    def posterior(self, x_t: Tensor, x0: Tensor, mu: Tensor, t: int, t_prev: int) -> tuple[Tensor, Tensor]:
        """Given x_t, the end adds nothing, so this is the free process's."""
        alpha, sigma = self._at(self.alphas, t), self._at(self.sigmas, t)
        alpha_prev, sigma_prev = self._at(self.alphas, t_prev), self._at(self.sigmas, t_prev)
        carried = alpha / alpha_prev * sigma_prev
        step = (sigma - carried) * (sigma + carried)
        mean = (alpha_prev * step * x0 + alpha / alpha_prev * sigma_prev**2 * x_t) / sigma**2
        return mean, sigma_prev**2 * step / sigma**2

    def network_input(self, x_t: Tensor, t: int | float | Tensor) -> tuple[Tensor, float | Tensor]:
        """The state and its continuous time; preconditioned, over its spread, and `250 log(time)`."""
        if self.predicts != "preconditioned":
            return x_t, self._told(t, self.times)
        return self.preconditioning(t)[0] * x_t, self._told(t, self.told_log)

    def _told(self, t: int | float | Tensor, of_steps: Tensor) -> float | Tensor:
        if isinstance(t, float):
            return t if self.predicts == "x0" else 250 * math.log(t)
        if isinstance(t, Tensor) and t.is_floating_point():
            return t if self.predicts == "x0" else 250 * t.log()
        return self.told[t] if isinstance(t, int) else of_steps[t]

    def preconditioning(self, t: int | float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """c_in, c_skip and c_out, each (B, 1, 1, 1), with which x_0 is `c_skip x_t + c_out F(c_in x_t)` (section 4)."""
        b, a, spread = self.marginal(t)
        c = spread**2
        variance, covariance = self.sigma_data**2, self.cov_xy
        total = (a**2 + b**2) * variance + 2 * a * b * covariance + c
        c_skip = (b * variance + a * covariance) / total
        return total**-0.5, c_skip, ((a**2 * (variance**2 - covariance**2) + variance * c) / total).sqrt()

    @override
    def target(self, x_t: Tensor, x0: Tensor, mu: Tensor, eps: Tensor, t: int | Tensor) -> Tensor:
        """Preconditioned, of unit variance."""
        if self.predicts != "preconditioned":
            return super().target(x_t, x0, mu, eps, t)
        _, c_skip, c_out = self.preconditioning(t)
        return (x0 - c_skip * x_t) / c_out

    @override
    def x0_from_output(self, x_t: Tensor, out: Tensor, mu: Tensor, t: int | float | Tensor) -> Tensor:
        if self.predicts != "preconditioned":
            return super().x0_from_output(x_t, out, mu, t)
        _, c_skip, c_out = self.preconditioning(t)
        return c_skip * x_t + c_out * out


def karras_times(n: int, first: float, last: float, rho: float) -> Tensor:
    """0 and n ascending times from `first` to `last`, even in their rho-th root; (n + 1,), float64."""
    place = torch.linspace(0, 1, n, dtype=torch.float64)
    ends = first ** (1 / rho), last ** (1 / rho)
    return torch.cat([place.new_zeros(1), (ends[0] + place * (ends[1] - ends[0])) ** rho])
