"""The noise of the released pre-training (Lu et al., arXiv 2506.21722): exploding, at the levels of IR-SDE."""

import torch
from torch import Tensor

from dtir.core.errors import ConfigError
from dtir.diffusion.domain import IMAGE_SCALE
from dtir.diffusion.schedulers.base import Scheduler
from dtir.diffusion.schedulers.bridge import register_arrays
from dtir.diffusion.schedulers.irsde import IRSDE
from dtir.registry import SCHEDULERS


@SCHEDULERS.register_module()
class EEDTPScheduler(Scheduler):
    """`x_t = x_0 + sigma_t eps` on pictures in [0, 1], sigma_t the standard deviation of IR-SDE's state at t.

    It rises to within 2 % of its end in the first half of the steps: with the released settings sigma_t is 1.0 of 255
    at t = 1, 8.0 at 15, 9.8 at 27 and 10.0 from 38 on.

    Args:
        num_timesteps: T.
        max_sigma: Standard deviation at the end; from 1 on for 8-bit pictures.
        schedule: "constant", "linear" or "cosine".
        eps: Share of the difference to the mean that is left at T by IR-SDE's process.

    Attributes:
        sigma_bars: Buffer (T + 1,) of sigma_t in image units, not saved in state dicts.

    Raises:
        ConfigError: An argument is outside its range.
    """

    sigma_bars: Tensor

    def __init__(
        self, num_timesteps: int = 50, max_sigma: float = 10.0, schedule: str = "linear", eps: float = 0.005
    ) -> None:
        super().__init__(num_timesteps)
        register_arrays(self, sigma_bars=IRSDE(max_sigma, num_timesteps, schedule, eps).sigma_bars)

    def marginal(self, t: int | Tensor) -> tuple[Tensor, Tensor]:
        """1 and sigma_t in the centred domain, each (B, 1, 1, 1)."""
        steps = torch.as_tensor(t, device=self.sigma_bars.device).reshape(-1)
        sigma = self.sigma_bars.index_select(0, steps).view(-1, 1, 1, 1) / IMAGE_SCALE
        return torch.ones_like(sigma), sigma

    def loss_weight(self, t: Tensor, kind: str = "uniform") -> Tensor:
        """1 for each of the steps (B,): the release weighs all alike.

        Raises:
            ConfigError: `kind` is another than "uniform".
        """
        if kind != "uniform":
            raise ConfigError(f"EEDTPScheduler: generative_weight='{kind}'; the released loss is 'uniform'.")
        return torch.ones_like(t, dtype=self.sigma_bars.dtype)
