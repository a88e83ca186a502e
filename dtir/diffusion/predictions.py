"""What a network predicts in a noisy picture `x = a x_0 + sigma eps`, and what that says of eps and x_0.

Every kind is linear: the output is trained to be a sum of x_0 and eps, and eps is a sum of the state and the output.
The coefficients are written so that no large numbers cancel, whatever the noise.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dtir.core.errors import ConfigError

LOSS_WEIGHTS = ("uniform", "min_snr")


class Coefficients(NamedTuple):
    """Those of one kind of prediction at some levels of noise, each (B, 1, 1, 1).

    Attributes:
        scale: What the state is multiplied with before the network sees it.
        target_x0: Share of x_0 in the target.
        target_eps: Share of eps in it.
        eps_x: Share of the state in eps.
        eps_out: Share of the output in it.
        gain: How much x_0 changes with the output, without its sign.
    """

    scale: Tensor
    target_x0: Tensor
    target_eps: Tensor
    eps_x: Tensor
    eps_out: Tensor
    gain: Tensor

    def target(self, x0: Tensor, eps: Tensor) -> Tensor:
        """What the output is trained to be, (B, C, H, W)."""
        return self.target_x0 * x0 + self.target_eps * eps

    def eps(self, x: Tensor, out: Tensor) -> Tensor:
        """The noise in states x (B, C, H, W) that goes with the output."""
        return self.eps_x * x + self.eps_out * out

    def loss_weight(self, a: Tensor, sigma: Tensor, kind: str, gamma: float = 5.0) -> Tensor:
        """Weight (B,) of each sample's loss on the output.

        Args:
            a: Mean coefficient (B, 1, 1, 1).
            sigma: Standard deviation of the noise.
            kind: "uniform", 1; or "min_snr", the squared error of x_0 times `min(snr, gamma)` (Hang et al., ICCV 2023).
            gamma: Bound of the signal-to-noise ratio.
        """
        if kind == "uniform":
            return torch.ones_like(self.gain).flatten()
        # min(1, gamma / snr) snr gain^2: finite where there is no noise.
        return ((a * self.gain / sigma) ** 2 * (gamma * (sigma / a) ** 2).clamp(max=1)).flatten()


def _of_eps(a: Tensor, sigma: Tensor, _: float) -> Coefficients:
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    return Coefficients(one, zero, one, zero, one, sigma / a)


def _of_x0(a: Tensor, sigma: Tensor, _: float) -> Coefficients:
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    return Coefficients(one, one, zero, 1 / sigma, -a / sigma, one)


def _of_v(a: Tensor, sigma: Tensor, _: float) -> Coefficients:
    total = a**2 + sigma**2
    return Coefficients(torch.ones_like(a), -sigma, a, sigma / total, a / total, sigma / total)


def _of_edm(a: Tensor, sigma: Tensor, sigma_data: float) -> Coefficients:
    total = a**2 * sigma_data**2 + sigma**2
    root = total.sqrt()
    return Coefficients(
        1 / root,
        sigma / (sigma_data * root),
        -a * sigma_data / root,
        sigma / total,
        -a * sigma_data / root,
        sigma * sigma_data / root,
    )


PREDICTIONS: dict[str, Callable[[Tensor, Tensor, float], Coefficients]] = {
    "eps": _of_eps,
    "x0": _of_x0,
    "v": _of_v,
    "edm": _of_edm,
}


def coefficients(kind: str, a: Tensor, sigma: Tensor, sigma_data: float = 0.5) -> Coefficients:
    """The coefficients of a kind of prediction.

    Args:
        kind: "eps", the noise; "x0", the clean picture; "v", the velocity `a eps - sigma x_0` (Salimans and Ho, ICLR
            2022); "edm", what is left of x_0 after the state's own share, in inputs and targets of unit variance
            (Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", NeurIPS 2022, section
            5), for any a: for a of 1 it is theirs, and for variance-preserving processes and a `sigma_data` of 1, -v.
        a: Mean coefficient (B, 1, 1, 1).
        sigma: Standard deviation of the noise (B, 1, 1, 1).
        sigma_data: Standard deviation of centred clean pictures that "edm" assumes.
    """
    return PREDICTIONS[kind](a, sigma, sigma_data)


def check_prediction(kind: str, loss_weight: str, sigma_data: float) -> None:
    """Checks the settings of a model.

    Raises:
        ConfigError: It names the one that is none of those known.
    """
    if kind not in PREDICTIONS:
        raise ConfigError(f"model.predicts='{kind}'; expected one of {', '.join(PREDICTIONS)}.")
    if loss_weight not in LOSS_WEIGHTS:
        raise ConfigError(f"model.loss_weight='{loss_weight}'; expected one of {', '.join(LOSS_WEIGHTS)}.")
    if sigma_data <= 0:
        raise ConfigError(f"model.sigma_data={sigma_data} must be positive.")
