"""The variance-exploding process of EDM, on any level of noise (Karras et al., NeurIPS 2022)."""

import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.schedulers.base import Scheduler
from dtir.diffusion.schedulers.bridge import register_arrays
from dtir.diffusion.schedulers.ddbm import karras_times
from dtir.registry import SCHEDULERS


@SCHEDULERS.register_module()
class EDMScheduler(Scheduler):
    """`x = x_0 + sigma eps` on centred pictures; step t of 0..T is a level of a grid that is even in a root of sigma.

    Where a step is a float, or a tensor of such, it is the standard deviation itself: a sampler with `churn` asks
    between the grid's levels. Train with `predicts="edm"` and `level=dict(type="LogNormalLevel")`.

    Args:
        num_timesteps: T.
        sigma_min: Level of step 1.
        sigma_max: Level of step T.
        rho: Which root.

    Attributes:
        sigmas: Buffer (T + 1,), 0 at t = 0.
        levels: The same as numbers.

    Raises:
        ConfigError: The levels are not positive and ascending.
    """

    sigmas: Tensor

    def __init__(
        self, num_timesteps: int = 18, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
    ) -> None:
        super().__init__(num_timesteps)
        if num_timesteps < 2 or not 0 < sigma_min < sigma_max:
            raise ConfigError(
                f"EDMScheduler: num_timesteps={num_timesteps} must be at least 2, and 0 < sigma_min={sigma_min} < "
                f"sigma_max={sigma_max}."
            )
        self.sigma_min, self.sigma_max, self.rho = sigma_min, sigma_max, rho
        levels = karras_times(num_timesteps, sigma_min, sigma_max, rho)
        self.levels = levels.tolist()
        register_arrays(self, sigmas=levels)

    @override
    def marginal(self, t: int | float | Tensor) -> tuple[Tensor, Tensor]:
        """The marginal at a step, or at a level that is a float.

        Raises:
            ValueError: t is an int outside 0..T."""
        sigma = self._level(t).reshape(-1, 1, 1, 1)
        return torch.ones_like(sigma), sigma

    def _level(self, t: int | float | Tensor) -> Tensor:
        if isinstance(t, float):
            return self.sigmas.new_full((1,), t)
        if isinstance(t, int):
            if not 0 <= t <= self.num_timesteps:
                raise ValueError(f"t={t} is outside 0..{self.num_timesteps}.")
            return self.sigmas[t]
        return t.to(self.sigmas.dtype) if t.is_floating_point() else self.sigmas.index_select(0, t.reshape(-1))
