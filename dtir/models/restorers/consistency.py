"""Distillation of a trained bridge to a network that restores in one step."""

from pathlib import Path

import torch
from torch import Tensor, nn

from dtir.core.checkpoint import load_checkpoint, load_state
from dtir.core.errors import CheckpointError, ConfigError
from dtir.registry import BACKBONES, RESTORERS

from .bridge_restorer import BridgeRestorer
from .draws import BatchDraws

PREFIX = "backbone."


@RESTORERS.register_module()
class ConsistencyRestorer(BridgeRestorer):
    """A network whose one step is where a trained one's many steps lead (Song et al., "Consistency Models", ICML 2023).

    It learns to predict the same clean picture from the state at t and from the state at the step before, to which the
    trained network, the teacher, leads without noise (`Bridge.implicit_step`); at the end of the way the picture is the
    teacher's. Begin with the teacher's weights: `load_from` in the config. Sample with `ConsistencySampler` in one step
    (`num_steps=1`), or some more for a finer picture.

    From a start without noise, that of DDBM or I2SB, one step is one picture: the mean of what the teacher draws.

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
        path = self.scheduler.sample_steps(intervals or self.scheduler.num_timesteps)
        # Ascending, from the clean picture.
        self.register_buffer("way", torch.tensor([0, *reversed(path)]), persistent=False)
        self.teacher = teacher
        # In a tuple, so that it is no part of this model: neither trained nor saved.
        self._teaches: tuple[nn.Module, ...] = ()

    def losses(self, lq: Tensor, samples: dict) -> dict[str, Tensor]:
        """`loss_consistency`; the samples also hold `noise_seed` (int).

        Raises:
            ConfigError: The stage asks for generative samples, or no teacher is named.
            CheckpointError: The teacher cannot be read, or is another network.
        """
        self.refuse_generative(samples)
        condition, x0 = self._into(lq), self._into(samples["gt"])
        draws = BatchDraws(lq, samples["noise_seed"], samples["slots"], samples.get("step_size"))
        place, eps, fresh = draws.steps(len(self.way) - 1), draws.noise(), draws.noise()
        t, before = self.way[place], self.way[place - 1]
        x_t = self.scheduler.add_noise(x0, condition, eps, t)
        given = self._network_condition(condition, lq)
        with torch.no_grad():
            guess = self._predicted(self._teacher(lq.device), x_t, condition, given, t)
            state = self.scheduler.implicit_step(x_t, guess, condition, t, before, fresh)
            # A network knows no step 0, where the state is the clean picture.
            later = self._predicted(None, state, condition, given, before.clamp(min=1))
            target = torch.where((before == 0).view(-1, 1, 1, 1), state, later)
        return {"loss_consistency": self.loss(self._predicted(None, x_t, condition, given, t), target).mean()}

    def _predicted(self, network: nn.Module | None, x: Tensor, mu: Tensor, given: Tensor, t: Tensor) -> Tensor:
        """The clean pictures that a network, or this model's, finds in states (B, C, H, W) at steps (B,)."""
        seen, told = self.scheduler.network_input(x, t)
        out = self.call_network(seen, given, told * self.time_scale, network)
        return self.scheduler.x0_from_output(x, out.to(x.dtype), mu, t)

    def _teacher(self, device: torch.device) -> nn.Module:
        if not self._teaches:
            if self.teacher is None:
                raise ConfigError("model.teacher is needed for a training: the checkpoint of a bridge's training.")
            self._teaches = (_read_teacher(self.teacher).to(device),)
        return self._teaches[0]


def _read_teacher(path: str | Path) -> nn.Module:
    checkpoint = load_checkpoint(path)
    config = checkpoint.get("meta", {}).get("model_cfg")
    if config is None or "backbone" not in config or "state_dict" not in checkpoint:
        raise CheckpointError(
            f"'{path}' is no checkpoint of a bridge's training (meta.model_cfg.backbone, state_dict)."
        )
    network = BACKBONES.build(config["backbone"])
    weights = checkpoint["state_dict"]
    load_state(network, {key[len(PREFIX) :]: weights[key] for key in weights if key.startswith(PREFIX)}, path)
    return network.eval().requires_grad_(False)
