"""DiffUIR's residual diffusion (Zheng et al., "Selective Hourglass Mapping for Universal Image Restoration Based on
Diffusion Model", CVPR 2024)."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from dtir.diffusion.schedulers.bridge import Bridge, register_arrays
from dtir.registry import SCHEDULERS
from dtir.utils.errors import ConfigError

BETA_START, BETA_END, DELTA_START = 1e-4, 0.02, 1e-6
OBJECTIVES = {"pred_res": "residual", "pred_noise": "eps"}


@SCHEDULERS.register_module(name=["ResidualDiffusion", "DiffUIR"])
class ResidualDiffusion(Bridge):
    """`x_t = x_0 + A_t (mu - x_0) - D_t mu + B_t eps`, on centred pictures: what all tasks share ends the same way.

    Step t of 1..T here is step t - 1 of the published code.

    Args:
        timesteps: T.
        delta_end: Last increment of D.
        sum_scale: Variance of the noise in the state that sampling starts from.
        objective: "pred_res" or "pred_noise".

    Attributes:
        alphas_cumsum: Buffer (T + 1,), A.
        betas_cumsum: Buffer (T + 1,), B.
        delta_cumsum: Buffer (T + 1,), D.

    Raises:
        ConfigError: `objective` is not one of those named.
    """

    alphas_cumsum: Tensor
    betas_cumsum: Tensor
    delta_cumsum: Tensor

    def __init__(
        self,
        timesteps: int = 1000,
        delta_end: float = 1.5e-3,
        sum_scale: float = 0.01,
        objective: str = "pred_res",
    ) -> None:
        if objective not in OBJECTIVES:
            raise ConfigError(f"DiffUIR: objective='{objective}'; expected one of {', '.join(OBJECTIVES)}.")
        super().__init__(timesteps, OBJECTIVES[objective])
        self.sum_scale = sum_scale
        alphas_cumprod = torch.cumprod(1 - torch.linspace(BETA_START, BETA_END, timesteps), dim=0)
        arrays = {
            "alphas_cumsum": 1 - alphas_cumprod**0.5,
            "betas_cumsum": torch.sqrt(1 - alphas_cumprod),
            "delta_cumsum": torch.linspace(DELTA_START, delta_end, timesteps).cumsum(dim=0).clip(0, 1),
        }
        register_arrays(self, **{name: F.pad(array, (1, 0)) for name, array in arrays.items()})
        # Python numbers, so that no step waits for the device.
        self.times = (self._told * timesteps).tolist()

    @property
    def _told(self) -> Tensor:
        return self.alphas_cumsum if self.predicts == "residual" else self.betas_cumsum

    def marginal(self, t: int | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `Bridge.marginal`; the first two sum to `1 - D_t`."""
        alpha = self._at(self.alphas_cumsum, t)
        return 1 - alpha, alpha - self._at(self.delta_cumsum, t), self._at(self.betas_cumsum, t)

    def start(self, mu: Tensor, eps: Tensor) -> Tensor:
        """`(1 - D_T) mu + sqrt(sum_scale) eps`."""
        return (1 - self.delta_cumsum[-1]) * mu + math.sqrt(self.sum_scale) * eps

    def posterior(self, x_t: Tensor, x0: Tensor, mu: Tensor, t: int, t_prev: int) -> tuple[Tensor, Tensor]:
        """As `Bridge.posterior`, of a chain whose increments are independent: equation 9 of the paper's appendix."""
        now, before = self._at(self.betas_cumsum, t) ** 2, self._at(self.betas_cumsum, t_prev) ** 2
        (a, b, _), (a_prev, b_prev, _) = self.marginal(t), self.marginal(t_prev)
        share = before / now
        mean = share * (x_t - a * x0 - b * mu) + a_prev * x0 + b_prev * mu
        return mean, (now - before) * share

    def network_input(self, x_t: Tensor, t: int | Tensor) -> tuple[Tensor, float | Tensor]:
        """The state, and `A_t T` or, for networks that predict noise, `B_t T`."""
        return x_t, self.times[t] if isinstance(t, int) else self._told[t] * self.num_timesteps

    def sample_steps(self, n: int) -> list[int]:
        """As `Bridge.sample_steps`, with the published rounding."""
        super().sample_steps(n)
        return [i * self.num_timesteps // n for i in range(n, 0, -1)]
