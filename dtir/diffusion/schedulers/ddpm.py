"""The variance-preserving process of DDPM and DDIM with few, evenly spaced steps."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dtir.core.errors import ConfigError
from dtir.diffusion.schedulers.base import Scheduler, trailing_steps
from dtir.registry import SCHEDULERS


def _linear(n: int, start: float, end: float) -> np.ndarray:
    return np.linspace(start, end, n)


def _scaled_linear(n: int, start: float, end: float) -> np.ndarray:
    return np.linspace(start**0.5, end**0.5, n) ** 2


def _cosine(n: int, start: float, end: float) -> np.ndarray:
    """Nichol and Dhariwal 2021, Eq. 17; it has no free end points, so `start` and `end` are not used."""
    f = np.cos((np.arange(n + 1) / n + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.minimum(1 - f[1:] / f[:-1], 0.999)


BETA_SCHEDULES: dict[str, Callable[[int, float, float], np.ndarray]] = {
    "linear": _linear,
    "scaled_linear": _scaled_linear,
    "cosine": _cosine,
}


def _alphas_cumprod(num_timesteps: int, train_timesteps: int, start: float, end: float, schedule: str) -> np.ndarray:
    """Returns abar of the spaced steps 0..T in float64, abar_0 = 1."""
    if schedule not in BETA_SCHEDULES:
        raise ConfigError(f"unknown beta_schedule '{schedule}': expected one of {', '.join(BETA_SCHEDULES)}.")
    if not 0 < start <= end < 1:
        raise ConfigError(f"beta_start={start} and beta_end={end} must satisfy 0 < beta_start <= beta_end < 1.")
    full = np.cumprod(1 - BETA_SCHEDULES[schedule](train_timesteps, start, end))
    kept = np.array(trailing_steps(train_timesteps, num_timesteps)) - 1
    return np.concatenate([[1.0], full[kept]])


@SCHEDULERS.register_module()
class DDPMScheduler(Scheduler):
    """`x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps` on T steps taken from a longer schedule.

    Step t of 1..T is the 0-based index `t * train_timesteps / num_timesteps - 1` of the long schedule (trailing
    spacing, so t = T is its last and noisiest step); step 0 is no noise. With the defaults, noise of standard deviation
    50/255 in a [0, 1] picture is nearest to t = 6.

    Args:
        num_timesteps: T. The paper (Lu et al., arXiv 2506.21722) uses 50.
        train_timesteps: Length of the schedule that the betas are defined on.
        beta_start: First beta of 'linear' and 'scaled_linear'.
        beta_end: Last beta of the same.
        beta_schedule: 'linear' (Ho et al. 2020), 'scaled_linear' (linear in sqrt beta) or 'cosine'.

    Attributes:
        alphas_cumprod: Buffer (T + 1,) of abar, not saved in state dicts.

    Raises:
        ConfigError: An argument is outside its range.

    Example:
        >>> scheduler = DDPMScheduler()
        >>> scheduler.num_timesteps, scheduler.nearest_timestep(50 / 255)
        (50, 6)
    """

    alphas_cumprod: Tensor
    sqrt_alphas_cumprod: Tensor
    sqrt_one_minus_alphas_cumprod: Tensor

    def __init__(
        self,
        num_timesteps: int = 50,
        train_timesteps: int = 1000,
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
    ) -> None:
        super().__init__(num_timesteps)
        abar = _alphas_cumprod(num_timesteps, train_timesteps, beta_start, beta_end, beta_schedule)
        # Roots are taken in float64: 1 - abar of the first steps would lose digits in float32.
        arrays = {
            "alphas_cumprod": abar,
            "sqrt_alphas_cumprod": np.sqrt(abar),
            "sqrt_one_minus_alphas_cumprod": np.sqrt(1 - abar),
        }
        for name, array in arrays.items():
            self.register_buffer(name, torch.tensor(array, dtype=torch.float32), persistent=False)

    def _index(self, t: int | Tensor) -> Tensor:
        """Steps as an index tensor (B,) on the device of the buffers."""
        if isinstance(t, int):
            if not 0 <= t <= self.num_timesteps:
                raise ValueError(f"t={t} is outside 0..{self.num_timesteps}.")
            return torch.full((1,), t, device=self.alphas_cumprod.device)
        if t.is_floating_point():
            raise TypeError(f"steps of DDPMScheduler are integers in 0..{self.num_timesteps}; got a {t.dtype} tensor.")
        return t.reshape(-1)

    def marginal(self, t: int | Tensor) -> tuple[Tensor, Tensor]:
        """Returns `sqrt(abar_t)` and `sqrt(1 - abar_t)`, each (B, 1, 1, 1).

        Raises:
            ValueError: t is an int outside 0..T. (Of tensors, the device itself reports an index out of range.)
            TypeError: t is a tensor of floats.
        """
        # index_select, unlike buffer[t], rejects negative steps, and -1 stands for "not matched yet" elsewhere.
        index = self._index(t)
        a = self.sqrt_alphas_cumprod.index_select(0, index)
        sigma = self.sqrt_one_minus_alphas_cumprod.index_select(0, index)
        return a.view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)
