"""DiffUIR's residual diffusion (Zheng et al., "Selective Hourglass Mapping for Universal Image Restoration Based on
Diffusion Model", CVPR 2024)."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.schedulers.bridge import Bridge, register_arrays
from dtir.registry import SCHEDULERS

BETA_START, BETA_END, DELTA_START = 1e-4, 0.02, 1e-6
OBJECTIVES = {
    "pred_res": "residual",
    "pred_noise": "eps",
    "pred_res_noise": "residual and eps",
    "pred_x0_noise": "x0 and eps",
}
TESTED = ("res_noise", "res", "noise")
# In place of 1 - A_T, as published.
LEAST_SHARE = 1e-6
Bounds = tuple[float, float] | None


@SCHEDULERS.register_module(name=["ResidualDiffusion", "DiffUIR"])
class ResidualDiffusion(Bridge):
    """`x_t = x_0 + A_t (mu - x_0) - D_t mu + B_t eps`, on centred pictures: what all tasks share ends the same way.

    Step t of 1..T here is step t - 1 of the published code, whose `sampling_timesteps` and `ddim_sampling_eta` are
    `num_steps` of a sampling and `eta` of `ResidualSampler`.

    Args:
        timesteps: T.
        delta_end: Last increment of D.
        sum_scale: Variance of the noise in the state that sampling starts from.
        objective: "pred_res" or "pred_noise"; or, of networks with two predictions, one after the other in the channels
            of the output, "pred_res_noise" or "pred_x0_noise".
        test_res_or_noise: What "pred_res_noise" samples with: "res", "noise", or both, "res_noise".

    Attributes:
        alphas_cumsum: Buffer (T + 1,), A.
        betas_cumsum: Buffer (T + 1,), B.
        delta_cumsum: Buffer (T + 1,), D.

    Raises:
        ConfigError: `objective` or `test_res_or_noise` is not one of those named.
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
        test_res_or_noise: str = "res_noise",
    ) -> None:
        for name, value, known in (
            ("objective", objective, OBJECTIVES),
            ("test_res_or_noise", test_res_or_noise, TESTED),
        ):
            if value not in known:
                raise ConfigError(f"DiffUIR: {name}='{value}'; expected one of {', '.join(known)}.")
        super().__init__(timesteps, OBJECTIVES[objective])
        self.sum_scale, self.test_res_or_noise = sum_scale, test_res_or_noise
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
        return self.betas_cumsum if self.predicts == "eps" else self.alphas_cumsum

    @override
    def marginal(self, t: int | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The first two sum to `1 - D_t`."""
        alpha = self._at(self.alphas_cumsum, t)
        return 1 - alpha, alpha - self._at(self.delta_cumsum, t), self._at(self.betas_cumsum, t)

    def start(self, mu: Tensor, eps: Tensor) -> Tensor:
        """`(1 - D_T) mu + sqrt(sum_scale) eps`."""
        return (1 - self.delta_cumsum[-1]) * mu + math.sqrt(self.sum_scale) * eps

    @override
    def posterior(self, x_t: Tensor, x0: Tensor, mu: Tensor, t: int, t_prev: int) -> tuple[Tensor, Tensor]:
        """The posterior of a chain whose increments are independent: equation 9 of the paper's appendix."""
        now, before = self._at(self.betas_cumsum, t) ** 2, self._at(self.betas_cumsum, t_prev) ** 2
        (a, b, _), (a_prev, b_prev, _) = self.marginal(t), self.marginal(t_prev)
        share = before / now
        mean = share * (x_t - a * x0 - b * mu) + a_prev * x0 + b_prev * mu
        return mean, (now - before) * share

    @override
    def target(self, x_t: Tensor, x0: Tensor, mu: Tensor, eps: Tensor, t: int | Tensor) -> Tensor:
        """The targets of both predictions, (B, 2 C, H, W)."""
        if not self._predicts_two:
            return super().target(x_t, x0, mu, eps, t)
        return torch.cat([x0 if self.predicts == "x0 and eps" else mu - x0, eps], 1)

    @override
    def x0_from_output(self, x_t: Tensor, out: Tensor, mu: Tensor, t: int | Tensor) -> Tensor:
        """The clean picture by the one of the two predictions that is not the noise."""
        if not self._predicts_two:
            return super().x0_from_output(x_t, out, mu, t)
        first = out.chunk(2, dim=1)[0]
        return first if self.predicts == "x0 and eps" else mu - first

    @override
    def eps_from_output(self, x_t: Tensor, out: Tensor, mu: Tensor, t: int | Tensor) -> Tensor:
        """The noise, which is one of the two predictions."""
        return out.chunk(2, dim=1)[1] if self._predicts_two else super().eps_from_output(x_t, out, mu, t)

    def parts(self, x_t: Tensor, out: Tensor, mu: Tensor, t: int, clip: Bounds = None) -> tuple[Tensor, Tensor]:
        """The residual and x_0 (B, C, H, W) as the published sampling reads a network's output at step t.

        It leaves D out where it reads x_0 from noise and takes 1 - A_T for 1e-6, so that this inverts the process only
        where the residual or x_0 itself is predicted.

        Args:
            x_t: States.
            out: The network's output for them.
            mu: Degraded pictures.
            t: The step.
            clip: Bounds of both; None for none.
        """
        bounded = (lambda x: x) if clip is None else (lambda x: x.clamp(*clip))
        first, second = out.chunk(2, dim=1) if self._predicts_two else (out, out)
        if self.predicts == "x0 and eps":
            return bounded(mu - first), bounded(first)
        if self.predicts == "eps" or (self._predicts_two and self.test_res_or_noise == "noise"):
            share = x_t.new_full((), LEAST_SHARE) if t == self.num_timesteps else 1 - self._at(self.alphas_cumsum, t)
            x0 = bounded((x_t - self._at(self.alphas_cumsum, t) * mu - self._at(self.betas_cumsum, t) * second) / share)
            return bounded(mu - x0), x0
        residual = bounded(first)
        if self._predicts_two and self.test_res_or_noise == "res_noise":
            noise = self._at(self.betas_cumsum, t) * second
            return residual, bounded(x_t - self._at(self.alphas_cumsum, t) * residual - noise)
        return residual, bounded(mu - residual)

    @property
    def _predicts_two(self) -> bool:
        return self.predicts.endswith(" and eps")

    def network_input(self, x_t: Tensor, t: int | Tensor) -> tuple[Tensor, float | Tensor]:
        """The state, and `A_t T` or, for networks that predict noise, `B_t T`."""
        return x_t, self.times[t] if isinstance(t, int) else self._told[t] * self.num_timesteps

    @override
    def sample_steps(self, n: int) -> list[int]:
        """With the published rounding."""
        super().sample_steps(n)
        # As `torch.linspace` computes it in float32, from both ends, so that the same fractions are cut off.
        length, i = np.float32(self.num_timesteps / n), np.arange(n + 1, dtype=np.float32)
        places = np.where(i < (n + 1) // 2, -1 + length * i, self.num_timesteps - 1 - length * (n - i))
        return (places.astype(int)[:0:-1] + 1).tolist()
