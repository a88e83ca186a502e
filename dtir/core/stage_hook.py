"""The points at which a staged training calls its hooks, and the optimiser step that they are handed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmengine.hooks import Hook
from torch import Tensor


class EstimateStopped(Exception):  # noqa: N818 - no error
    """Raised in `on_estimate` to end a training before the stage whose estimates are under way."""


@dataclass
class TrainStep:
    """One optimiser step of a staged training, as its hooks see it.

    Attributes:
        stage: The `ScheduledStage` that the step belongs to.
        iteration: Number of the step within its stage, from 0.
        accumulate: Micro-batches of the step in each process.
        micro: Number of the present micro-batch, from 0.
        samples: The present micro-batch: `lq` and `gt` (B, 3, H, W) in [0, 1], `task` (B,), `num_generative` (int, of
            samples that come first), `noise_seed` (int), and `slots` (B,), the places of the samples among the
            `step_size` samples of the whole step, of all processes and micro-batches.
        losses: Mean over the micro-batches so far of every loss of this process, scalars by name.
        logged: What hooks want logged beside the losses, scalars by name.
    """

    stage: Any
    iteration: int
    accumulate: int = 1
    micro: int = 0
    samples: dict = field(default_factory=dict)
    losses: dict[str, Tensor] = field(default_factory=dict)
    logged: dict[str, Tensor] = field(default_factory=dict)

    def log(self, **scalars: Tensor) -> None:
        """Has scalars logged with the losses; tensors of any device, so that nothing is read back from it before a
        line is due."""
        self.logged.update(scalars)

    def add_losses(self, losses: Mapping[str, Tensor]) -> None:
        """Adds a micro-batch's share to the mean losses."""
        for name, loss in losses.items():
            share = loss.detach() / self.accumulate
            self.losses[name] = self.losses[name] + share if name in self.losses else share


class StageHook(Hook):
    """A hook of `StagedTrainLoop`: its points in the order in which they are called, beside those of mmengine's hooks.

    A training calls `before_stage`; for every optimiser step `before_step`, for each of its micro-batches `after_loss`,
    then `gradient_policy`, `before_optim_step` and `after_step`; then `after_stage`; and `close` when it ends. A
    subclass overrides what it needs.

    Attributes:
        before: Name of the stage that the hook waits for, None for none; a training without it is refused.
    """

    before: str | None = None

    def before_stage(self, runner, stage, fresh: bool) -> None:
        """A stage begins.

        Args:
            runner: The runner.
            stage: The `ScheduledStage`.
            fresh: False where a resumed run comes back into the middle of the stage; state that the stage's start
                computed is then already loaded and must not be computed anew.
        """

    def on_estimate(self, runner, what: str, done: int, total: int) -> None:
        """A part of what is estimated before a stage, in `before_stage`, is done.

        Args:
            runner: The runner.
            what: What is estimated, in words.
            done: Parts that are done, `total` at the end.
            total: Parts in all.
        """

    def before_step(self, runner, step: TrainStep) -> None:
        """An optimiser step begins; no data is loaded yet."""

    def preview_loss(self, runner, step: TrainStep, losses: Mapping[str, Tensor]) -> None:
        """The losses of a micro-batch, before those of any are used; see `Regularizer.previews`."""

    def after_loss(self, runner, step: TrainStep, losses: dict[str, Tensor]) -> None:
        """The losses of a micro-batch are known; terms (scalars, summed for the backward) may be added to them."""

    def gradient_policy(self, runner, step: TrainStep, loss_gradients: Mapping[str, Sequence[Tensor]]) -> None:
        """Changes the losses' gradients in place, reduced over all processes and unscaled, before they are summed.

        Called only in runs in which a regularizer sets `needs_loss_gradients`.

        Args:
            runner: The runner.
            step: The optimiser step.
            loss_gradients: Per loss name its gradients, in the order of `runner.train_loop.trainable_parameters`.
        """

    def before_optim_step(self, runner, step: TrainStep) -> None:
        """`p.grad` is the total, reduced and unscaled, not yet clipped; analytic gradients may be added to it."""

    def after_step(self, runner, stage) -> None:
        """An optimiser step is over and counted, a validation that was due after it included."""

    def after_stage(self, runner, stage) -> None:
        """A stage has run to its end."""

    def close(self, runner) -> None:
        """Training is over, by an error too: gives back what the hook holds."""
