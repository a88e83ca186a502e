"""The image-to-image Schroedinger bridge (Liu et al., "I2SB: Image-to-Image Schroedinger Bridge", ICML 2023)."""

from itertools import accumulate, repeat

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.schedulers.bridge import Bridge, register_arrays
from dtir.registry import SCHEDULERS

BETA_START = 1e-4


@SCHEDULERS.register_module()
class I2SB(Bridge):
    """A Brownian bridge whose noise is largest in the middle, on centred pictures.

    Published networks predict `(x_t - x_0) / std_fwd_t`, which is the default.

    Args:
        interval: Steps of the schedule, even; t goes over 0..interval - 1, and t = 0 has the noise of its first step.
        beta_max: Beta in the middle, times `interval`.
        predicts: "forward" for the above, or "x0", "eps" or "residual".
        ot_ode: Whether states have no noise, in training and sampling: the optimal-transport path.

    Attributes:
        betas: Buffer (interval,), symmetric.
        std_fwd: Buffer (interval,), standard deviation from x_0 to x_t.
        std_bwd: Buffer (interval,), that from x_t to mu.
        std_sb: Buffer (interval,), that of x_t between both.
        mu_x0: Buffer (interval,), coefficient of x_0.
        mu_x1: Buffer (interval,), coefficient of mu.

    Raises:
        ConfigError: `interval` is odd or less than 2, `beta_max` is not positive, or noise is to be predicted in states
            without any.
    """

    std_fwd: Tensor
    std_sb: Tensor
    mu_x0: Tensor
    mu_x1: Tensor

    starts_noisy = False

    def __init__(
        self, interval: int = 1000, beta_max: float = 0.3, predicts: str = "forward", ot_ode: bool = False
    ) -> None:
        super().__init__(interval - 1, predicts)
        if interval < 2 or interval % 2 or beta_max <= 0:
            raise ConfigError(
                f"I2SB: interval={interval} must be even and at least 2, and beta_max={beta_max} positive."
            )
        if ot_ode and predicts == "eps":
            raise ConfigError("I2SB: predicts='eps' has no meaning with ot_ode=True; use 'forward' or 'x0'.")
        self.ot_ode = ot_ode
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

    @override
    def marginal(self, t: int | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The first two sum to 1."""
        return self._at(self.mu_x0, t), self._at(self.mu_x1, t), self._at(self.std_sb, t)

    @override
    def add_noise(self, x0: Tensor, mu: Tensor, eps: Tensor, t: int | Tensor) -> Tensor:
        """With `ot_ode`, `eps` plays no part."""
        return super().add_noise(x0, mu, torch.zeros_like(eps) if self.ot_ode else eps, t)

    def start(self, mu: Tensor, eps: Tensor) -> Tensor:
        """`mu`, without noise."""
        return mu

    @override
    def posterior(self, x_t: Tensor, x0: Tensor, mu: Tensor, t: int, t_prev: int) -> tuple[Tensor, Tensor]:
        """Equation 4 of the paper."""
        before = self._at(self.std_fwd, t_prev) ** 2
        # In the order of the published code, whose difference of squares cancels.
        between = (self._at(self.std_fwd, t) ** 2 - before).sqrt() ** 2
        total = before + between
        variance = torch.zeros_like(total) if self.ot_ode else before * between / total
        return between / total * x0 + before / total * x_t, variance

    @override
    def sample_steps(self, n: int) -> list[int]:
        """With the published rounding: halves go to the even step."""
        super().sample_steps(n)
        places = accumulate(repeat(self.num_timesteps / n, n - 1), initial=self.num_timesteps / n)
        return [round(place) for place in places][::-1]

    def target(self, x_t: Tensor, x0: Tensor, mu: Tensor, eps: Tensor, t: int | Tensor) -> Tensor:
        """As `Bridge.target`; for "forward", `(x_t - x_0) / std_fwd_t`, equation 12 of the paper."""
        if self.predicts == "forward":
            return (x_t - x0) / self._at(self.std_fwd, t)
        return super().target(x_t, x0, mu, eps, t)

    def x0_from_output(self, x_t: Tensor, out: Tensor, mu: Tensor, t: int | Tensor) -> Tensor:
        """As `Bridge.x0_from_output`; for "forward", `x_t - std_fwd_t out`."""
        if self.predicts == "forward":
            return x_t - self._at(self.std_fwd, t) * out
        return super().x0_from_output(x_t, out, mu, t)
