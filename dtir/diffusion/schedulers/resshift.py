"""ResShift (Yue et al., "ResShift: Efficient Diffusion Model for Image Super-resolution by Residual Shifting", NeurIPS
2023)."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.schedulers.bridge import Bridge, register_arrays
from dtir.registry import SCHEDULERS

# What a network predicts, by its published name.
PREDICT_TYPES = {"xstart": "x0", "epsilon": "eps", "epsilon_scale": "scaled_eps", "residual": "residual"}


@SCHEDULERS.register_module()
class ResShift(Bridge):
    """`x_t = x_0 + eta_t (mu - x_0) + kappa sqrt(eta_t) eps` in few steps, on centred pictures or latents.

    Step t of 1..T here is step t - 1 of the published code, which is what a network is told. Other published settings
    are of what surrounds the process: `sf` and `scale_factor` make mu and latents, `weighted_mse` is of the loss.

    Args:
        steps: Steps of the schedule; T too, unless there is `timestep_respacing`.
        min_noise_level: `kappa sqrt(eta_1)`.
        etas_end: `sqrt(eta_T)`.
        kappa: Standard deviation of the noise at the end, over `sqrt(eta_T)`.
        schedule_name: "exponential".
        schedule_kwargs: `power` of the time in the exponent.
        predict_type: "xstart", "epsilon", "epsilon_scale" (noise times `kappa sqrt(eta_t)`) or "residual".
        normalize_input: Whether a network sees states divided by their spread.
        latent_flag: Whether the states are latents, with a spread of `sqrt(kappa^2 eta_t + 1)`, or pictures, with
            `3 kappa sqrt(eta_t) + 1`.
        timestep_respacing: T, a number of the schedule's steps that are kept, the first and every (steps / T)-th after
            it; a network is told their places in the schedule. None keeps all.

    Attributes:
        etas: Buffer (T + 1,), 0 at t = 0.

    Raises:
        ConfigError: An argument is not one of those named or outside its range.
    """

    etas: Tensor

    def __init__(
        self,
        steps: int = 15,
        min_noise_level: float = 0.04,
        etas_end: float = 0.99,
        kappa: float = 2.0,
        schedule_name: str = "exponential",
        schedule_kwargs: Mapping[str, float] | None = None,
        predict_type: str = "xstart",
        normalize_input: bool = True,
        latent_flag: bool = True,
        timestep_respacing: int | None = None,
    ) -> None:
        if predict_type not in PREDICT_TYPES:
            raise ConfigError(f"ResShift: predict_type='{predict_type}'; expected one of {', '.join(PREDICT_TYPES)}.")
        kept = steps if timestep_respacing is None else timestep_respacing
        super().__init__(kept, PREDICT_TYPES[predict_type])
        if schedule_name != "exponential":
            raise ConfigError(f"ResShift: schedule_name='{schedule_name}' is not known; use 'exponential'.")
        if steps < 2 or not 0 < min_noise_level < etas_end <= 1 or kappa <= 0:
            raise ConfigError(
                f"ResShift: steps={steps} must be at least 2, min_noise_level={min_noise_level} < etas_end={etas_end} "
                f"within 0..1, and kappa={kappa} positive."
            )
        if not 1 <= kept <= steps:
            raise ConfigError(f"ResShift: timestep_respacing={kept} must be a number in 1..steps={steps}.")
        self.kappa, self.normalize_input, self.latent_flag = kappa, normalize_input, latent_flag
        start = min(min_noise_level / kappa, min_noise_level)
        place = np.linspace(0, 1, steps) ** (schedule_kwargs or {"power": 0.3})["power"]
        sqrt_etas = start * (etas_end / start) ** place
        # Places in the schedule; step 0 is no input of a network.
        self.told = [-1, *(int(steps / kept * i) for i in range(kept))]
        register_arrays(self, etas=torch.tensor(np.concatenate([[0.0], sqrt_etas[self.told[1:]] ** 2])))
        self.register_buffer("timestep_map", torch.tensor(self.told), persistent=False)

    @override
    def marginal(self, t: int | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The first two sum to 1."""
        eta = self._at(self.etas, t)
        return 1 - eta, eta, self.kappa * eta.sqrt()

    def start(self, mu: Tensor, eps: Tensor) -> Tensor:
        """`mu + kappa sqrt(eta_T) eps`."""
        return mu + self.kappa * self.etas[-1].sqrt() * eps

    @override
    def posterior(self, x_t: Tensor, x0: Tensor, mu: Tensor, t: int, t_prev: int) -> tuple[Tensor, Tensor]:
        """Equation 7 of the paper."""
        eta, before = self._at(self.etas, t), self._at(self.etas, t_prev)
        alpha = eta - before
        return before / eta * x_t + alpha / eta * x0, self.kappa**2 * before / eta * alpha

    def network_input(self, x_t: Tensor, t: int | Tensor) -> tuple[Tensor, float | Tensor]:
        """The state over its spread, and its place in the schedule, which is t - 1 where all steps are kept."""
        told = self.told[t] if isinstance(t, int) else self.timestep_map[t]
        if not self.normalize_input:
            return x_t, told
        noise = self.kappa**2 * self._at(self.etas, t)
        return x_t / ((noise + 1).sqrt() if self.latent_flag else 3 * noise.sqrt() + 1), told

    def target(self, x_t: Tensor, x0: Tensor, mu: Tensor, eps: Tensor, t: int | Tensor) -> Tensor:
        """As `Bridge.target`; for "epsilon_scale", the noise as it is in the state."""
        if self.predicts == "scaled_eps":
            return self.marginal(t)[2] * eps
        return super().target(x_t, x0, mu, eps, t)

    @override
    def x0_from_output(self, x_t: Tensor, out: Tensor, mu: Tensor, t: int | Tensor) -> Tensor:
        if self.predicts == "scaled_eps":
            a, b, _ = self.marginal(t)
            return (x_t - b * mu - out) / a
        return super().x0_from_output(x_t, out, mu, t)
