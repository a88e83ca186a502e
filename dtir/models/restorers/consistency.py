"""Distillation of a trained bridge, or conditional diffusion, to a network that restores in one step.

The network learns to predict the same clean picture from the state at a step and from the state at the step before, to
which the trained network, the teacher, leads without noise; at the end of the way the picture is the teacher's (Song et
al., "Consistency Models", ICML 2023). Begin with the teacher's weights: `load_from` in the config.
"""

import torch
from torch import Tensor, nn
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.predictions import coefficients
from dtir.diffusion.schedulers import Bridge, Scheduler
from dtir.models.losses import per_sample
from dtir.registry import RESTORERS

from .bridge_restorer import BridgeRestorer
from .conditional_diffusion import ConditionalDiffusionRestorer
from .draws import BatchDraws
from .trained_network import build_trained


@RESTORERS.register_module()
class ConsistencyRestorer(BridgeRestorer):
    """A bridge's network whose one step is where a trained one's implicit steps lead (`Bridge.implicit_step`).

    Sample with `ConsistencySampler` in one step (`num_steps=1`), or some more for a finer picture. From a start without
    noise, that of DDBM or I2SB, one step is one picture: the mean of what the teacher draws.

    Args:
        teacher: Checkpoint of the training of a `BridgeRestorer` with the same process; a training needs it, what
            restores does not. None where nothing is trained.
        intervals: Steps of the way to the clean picture, evenly spaced on the schedule; None for all.
        **options: Of `BridgeRestorer`.

    Raises:
        ConfigError: As `BridgeRestorer`; or the schedule has fewer steps than `intervals`; or what is compared is not
            the output.
    """

    def __init__(self, *, teacher: str | None = None, intervals: int | None = None, **options) -> None:
        super().__init__(**{"sampler": {"type": "ConsistencySampler"}, "num_steps": 1, **options})
        if self.matching != "output" or self.source != "degraded":
            raise ConfigError(
                "ConsistencyRestorer follows the way from the degraded picture; leave out model.matching and "
                "model.source."
            )
        self.register_buffer("way", _way(self.scheduler, intervals), persistent=False)
        self.teacher = _Teacher(teacher)

    def losses(self, lq: Tensor, samples: dict) -> dict[str, Tensor]:
        """`loss_consistency`; the samples also hold `noise_seed` (int).

        Raises:
            ConfigError: The stage asks for generative samples, or no teacher is named.
            CheckpointError: The teacher cannot be read, or is another network.
        """
        self.refuse_generative(samples)
        (condition, _), (x0, _) = self.codec.encode(lq), self.codec.encode(samples["gt"])
        draws = BatchDraws(x0, samples["noise_seed"], samples["slots"], samples.get("step_size"))
        place, eps, fresh = draws.steps(len(self.way) - 1), draws.noise(), draws.noise()
        t, before = self.way[place], self.way[place - 1]
        x_t = self.scheduler.add_noise(x0, condition, eps, t)
        given = self._network_condition(condition, lq)
        with torch.no_grad():
            guess = self._predicted(self.teacher.network(lq.device), x_t, condition, given, t)
            state = self.scheduler.implicit_step(x_t, guess, condition, t, before, fresh)
            # A network knows no step 0, where the state is the clean picture.
            later = self._predicted(None, state, condition, given, before.clamp(min=1))
            target = torch.where((before == 0).view(-1, 1, 1, 1), state, later)
        return {
            "loss_consistency": per_sample(self.loss, self._predicted(None, x_t, condition, given, t), target).mean()
        }

    def _predicted(self, network: nn.Module | None, x: Tensor, mu: Tensor, given: Tensor, t: Tensor) -> Tensor:
        """The clean pictures that a network, or this model's, finds in states (B, C, H, W) at steps (B,)."""
        seen, told = self.scheduler.network_input(x, t)
        out = self.call_network(seen, given, told * self.time_scale, network)
        return self.scheduler.x0_from_output(x, out.to(x.dtype), mu, t)


@RESTORERS.register_module()
class ConditionalConsistencyRestorer(ConditionalDiffusionRestorer):
    """A conditional diffusion's network whose one step is where a trained one's DDIM steps lead.

    Sample with `DDIMSampler` in one step. A network that predicts "v", "x0" or "edm" is better made for this than one
    that predicts the noise, whose clean picture is the difference of large numbers at the start.

    Args:
        teacher: As in `ConsistencyRestorer`, of a `ConditionalDiffusionRestorer` with the same process and prediction.
        intervals: As in `ConsistencyRestorer`.
        **options: Of `ConditionalDiffusionRestorer`.

    Raises:
        ConfigError: As `ConditionalDiffusionRestorer`; or the schedule has fewer steps than `intervals`; or there are
            missing pixels, dropped conditions, or a sampling on another schedule.
    """

    def __init__(self, *, teacher: str | None = None, intervals: int | None = None, **options) -> None:
        super().__init__(**{"num_steps": 1, **options})
        if self.missing is not None or self.condition_dropout or self.sampling_scheduler is not self.scheduler:
            raise ConfigError(
                "ConditionalConsistencyRestorer: model.missing, model.condition_dropout and model.sampling_scheduler "
                "are not offered; leave them out."
            )
        self.register_buffer("way", _way(self.scheduler, intervals), persistent=False)
        self.teacher = _Teacher(teacher)

    @override
    def losses(self, lq: Tensor, samples: dict) -> dict[str, Tensor]:
        self.refuse_generative(samples)
        (code, _), (x0, _) = self.codec.encode(lq), self.codec.encode(samples["gt"])
        condition = self.given(code, lq)
        draws = BatchDraws(x0, samples["noise_seed"], samples["slots"], samples.get("step_size"))
        place = draws.steps(len(self.way) - 1)
        t, before = self.way[place], self.way[place - 1]
        x_t = self.scheduler.add_noise(x0, draws.noise(), t)
        with torch.no_grad():
            guess = self._predicted(self.teacher.network(lq.device), x_t, condition, t)
            state = self.scheduler.add_noise(guess, self.scheduler.eps_from_x0(x_t, guess, t), before)
            # A network knows no step 0, where the state is the clean picture.
            later = self._predicted(None, state, condition, before.clamp(min=1))
            target = torch.where((before == 0).view(-1, 1, 1, 1), guess, later)
        return {"loss_consistency": per_sample(self.loss, self._predicted(None, x_t, condition, t), target).mean()}

    def _predicted(self, network: nn.Module | None, x: Tensor, condition: Tensor, t: Tensor) -> Tensor:
        of = coefficients(self.predicts, *self.scheduler.marginal(t), self.sigma_data)
        out = self.call_network(of.scale * x, condition, self.level.of_step(self.scheduler, t), network)
        return self.scheduler.x0_from_eps(x, of.eps(x, out.to(x.dtype)), t)


class _Teacher:
    """A trained network that is read when it is first asked for; no part of a model, neither trained nor saved."""

    def __init__(self, path: str | None) -> None:
        self.path = path
        self._network: nn.Module | None = None

    def network(self, device: torch.device) -> nn.Module:
        """The network on a device.

        Raises:
            ConfigError: No teacher is named.
            CheckpointError: It cannot be read.
        """
        if self._network is None:
            if self.path is None:
                raise ConfigError("model.teacher is needed for a training: the checkpoint of the training to distil.")
            self._network = build_trained(self.path).to(device)
        return self._network


def _way(scheduler: Bridge | Scheduler, intervals: int | None) -> Tensor:
    """Ascending steps from 0, the clean picture, to T."""
    return torch.tensor([0, *reversed(scheduler.sample_steps(intervals or scheduler.num_timesteps))])
