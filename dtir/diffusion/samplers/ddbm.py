"""The published sampler of diffusion bridges (Zhou et al., ICLR 2024, Algorithm 1)."""

from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.samplers.bridges import BridgeSampler, BridgeStep
from dtir.diffusion.schedulers.bridge import Bridge
from dtir.diffusion.schedulers.ddbm import DDBM
from dtir.registry import SAMPLERS


@SAMPLERS.register_module()
class DDBMSampler(BridgeSampler):
    """Hybrid steps: the first part of each by the reverse equation, with noise, the rest by Heun on the flow.

    Three evaluations of the network each, two without the first part, and one less in the last step. As published it
    starts 1e-4 before the end, where the pull towards mu is finite; `DDBM.sampled_times` are its times.

    Args:
        churn_step_ratio: The first part's share of a step; 0 is the deterministic sampler.
        guidance: w, the weight of the pull towards mu (the h-transform); 1 is the bridge itself.
        clip: Bounds of the predicted x_0, such as (-1, 1) as published; None for none.

    Raises:
        ConfigError: `churn_step_ratio` is outside [0, 1).
    """

    def __init__(
        self, churn_step_ratio: float = 0.33, guidance: float = 1.0, clip: tuple[float, float] | None = None
    ) -> None:
        if not 0 <= churn_step_ratio < 1:
            raise ConfigError(f"DDBMSampler: churn_step_ratio={churn_step_ratio} must lie in [0, 1).")
        self.churn_step_ratio, self.guidance, self.clip = churn_step_ratio, guidance, clip

    @override
    def place(self, bridge: Bridge, t: int) -> float:
        """The time of a step.

        Raises:
            ConfigError: The process is not a `DDBM`."""
        if not isinstance(bridge, DDBM):
            raise ConfigError(f"DDBMSampler is of DDBM alone, not of {type(bridge).__name__}.")
        return bridge.sampled_times[t]

    @override
    def step(self, at: BridgeStep) -> Tensor:
        time, then = self.place(at.bridge, at.t), self.place(at.bridge, at.t_prev)
        x, out = at.x, at.out
        if self.churn_step_ratio:
            length = self.churn_step_ratio * (then - time)
            spread = (-length * at.bridge.rates(time)[1]) ** 0.5
            x = x + length * self._slope(at, x, out, time, noisy=True) + spread * at.noise()
            time += length
            out = at.again(x, time)
        slope = self._slope(at, x, out, time)
        ahead = x + (then - time) * slope
        if at.t_prev == 0:
            return ahead
        return x + (then - time) / 2 * (slope + self._slope(at, ahead, at.again(ahead, then), then))

    def _slope(self, at: BridgeStep, x: Tensor, out: Tensor, time: float, noisy: bool = False) -> Tensor:
        """dx/dt of the reverse equation without its noise or, by default, of the probability flow."""
        alpha, sigma = at.bridge.free(time)
        f, squared = at.bridge.rates(time)
        ratio = at.bridge.snr_ratio(time)
        x0 = at.bridge.x0_from_output(x, out, at.mu, time)
        x0 = x0 if self.clip is None else x0.clamp(*self.clip)
        free_score = (alpha * x0 - x) / sigma**2
        pull = (alpha / at.bridge.free(at.bridge.sigma_max)[0] * at.mu - x) * (ratio / (1 - ratio) / sigma**2)
        # The score of the bridge is the sum of both: written so, no large numbers cancel near the end.
        share = 1.0 if noisy else 0.5
        return f * x - squared * (share * free_score + (share - self.guidance) * pull)
