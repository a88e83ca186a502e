"""The image-to-image Schroedinger bridge (Liu et al., "I2SB: Image-to-Image Schroedinger Bridge", ICML 2023)."""

import numpy as np
import torch
from torch import Tensor

from dtir.diffusion.schedulers.bridge import Bridge, register_arrays
from dtir.registry import SCHEDULERS
from dtir.utils.errors import ConfigError

BETA_START = 1e-4


@SCHEDULERS.register_module()
class I2SB(Bridge):
    """A Brownian bridge whose noise is largest in the middle, on centred pictures.

    Published networks predict `(x_t - x_0) / std_fwd_t`, which is the default.

    Args:
        interval: Steps of the schedule, even; t goes over 0..interval - 1, and t = 0 has the noise of its first step.
        beta_max: Largest beta times `interval`.
        predicts: "forward" for the above, or "x0", "eps" or "residual".

    Attributes:
        betas: Buffer (interval,), symmetric.
        std_fwd: Buffer (interval,), standard deviation from x_0 to x_t.
        std_bwd: Buffer (interval,), that from x_t to mu.
        std_sb: Buffer (interval,), that of x_t between both.
        mu_x0: Buffer (interval,), coefficient of x_0.
        mu_x1: Buffer (interval,), coefficient of mu.

    Raises:
        ConfigError: `interval` is odd or less than 2, or `beta_max` too small.
    """

    std_fwd: Tensor
    std_sb: Tensor
    mu_x0: Tensor
    mu_x1: Tensor

    def __init__(self, interval: int = 1000, beta_max: float = 0.3, predicts: str = "forward") -> None:
        super().__init__(interval - 1, predicts)
        if interval < 2 or interval % 2 or beta_max / interval < BETA_START:
            raise ConfigError(
                f"I2SB: interval={interval} must be even and at least 2, and beta_max={beta_max} at least "
                f"{BETA_START} per step of it."
            )
        half = np.linspace(BETA_START**0.5, (beta_max / interval) ** 0.5, interval)[: interval // 2] ** 2
        betas = np.concatenate([half, half[::-1]])
        forward, backward = np.cumsum(betas), np.cumsum(betas[::-1])[::-1]
        total = forward + backward
        arrays = {
            "betas": betas,
            "std_fwd": forward**0.5,
            "std_bwd": backward**0.5,
            "std_sb": (forward * backward / total) ** 0.5,
            "mu_x0": backward / total,
            "mu_x1": forward / total,
        }
        register_arrays(self, **{name: torch.tensor(array) for name, array in arrays.items()})

    def marginal(self, t: int | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `Bridge.marginal`; the first two sum to 1."""
        return self._at(self.mu_x0, t), self._at(self.mu_x1, t), self._at(self.std_sb, t)

    def start(self, mu: Tensor, eps: Tensor) -> Tensor:
        """`mu`, without noise."""
        return mu

    def posterior(self, x_t: Tensor, x0: Tensor, mu: Tensor, t: int, t_prev: int) -> tuple[Tensor, Tensor]:
        """As `Bridge.posterior`, equation 4 of the paper."""
        before = self._at(self.std_fwd, t_prev) ** 2
        # In the order of the published code, whose difference of squares cancels.
        between = (self._at(self.std_fwd, t) ** 2 - before).sqrt() ** 2
        total = before + between
        return between / total * x0 + before / total * x_t, before * between / total

    def target(self, x_t: Tensor, x0: Tensor, mu: Tensor, eps: Tensor, t: int | Tensor) -> Tensor:
        """As `Bridge.target`; of "forward", `(x_t - x_0) / std_fwd_t`, equation 12 of the paper."""
        if self.predicts == "forward":
            return (x_t - x0) / self._at(self.std_fwd, t)
        return super().target(x_t, x0, mu, eps, t)

    def x0_from_output(self, x_t: Tensor, out: Tensor, mu: Tensor, t: int | Tensor) -> Tensor:
        """As `Bridge.x0_from_output`; of "forward", `x_t - std_fwd_t out`."""
        if self.predicts == "forward":
            return x_t - self._at(self.std_fwd, t) * out
        return super().x0_from_output(x_t, out, mu, t)
