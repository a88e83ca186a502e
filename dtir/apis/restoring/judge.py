"""Which damage a picture has, and whether that is ground enough to change it."""

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from dtir.apis.restoring.contract import Judgement, judgement_of
from dtir.apis.restoring.outcome import Estimate, Pass
from dtir.apis.restoring.steps import TaskSteps
from dtir.apis.restoring.wish import AUTO, Wish
from dtir.core.errors import ConfigError
from dtir.tasks import CLEAN


class Judge:
    """The estimator of a restorer, if it has one.

    Args:
        estimator: From pictures (B, 3, H, W) in [0, 1] to logits, see `Judgement`; or None.
        tasks: Names of what the restorer restores.
        device: Device of the estimator.
    """

    def __init__(self, estimator: nn.Module | None, tasks: Sequence[str], device: torch.device) -> None:
        self.estimator, self.tasks, self.device = estimator, tuple(tasks), device

    @property
    def judgement(self) -> Judgement:
        """How the estimator's answers are taken."""
        return judgement_of(self.estimator, self.tasks)

    def check(self) -> None:
        """Raises ConfigError if there is no estimator."""
        if self.estimator is None:
            raise ConfigError(
                "task='auto' needs a checkpoint that was trained with dict(type='BlindTaskHook') in custom_hooks; name "
                f"the task: {', '.join(self.tasks)}."
            )

    def most_passes(self, wished: int) -> int:
        """How often a picture may be restored by estimates: fewer than wished where the estimator says so."""
        most = self.judgement.most_passes
        return wished if most is None else min(wished, most)

    def check_steps(self, task: str | None = None) -> None:
        """Raises before any work what `step` would raise.

        Raises:
            ConfigError: There is no estimator of the time step, or not of this task's.
        """
        known = self.judgement.steps
        if not known:
            raise ConfigError(
                "t='auto' needs a checkpoint that was trained with dict(type='BlindTaskHook') in custom_hooks and data "
                "whose samples have time steps of their own (severity_steps or steps of the datasets), or its export "
                "with --task auto; this one has no estimator of the step: leave out t, or give a number."
            )
        if task not in (None, AUTO) and task not in known:
            raise ConfigError(
                f"t='auto': the samples of task '{task}' had no time steps of their own in training, those of "
                f"{', '.join(known)} had: leave out t for this task."
            )

    @torch.inference_mode()
    def step(self, image: Tensor, task: str) -> int:
        """The time step of an image (1, 3, H, W) in [0, 1] that has the damage of a task; 0 is nothing to do.

        Raises:
            ConfigError: See `check_steps`.
        """
        self.check_steps(task)
        return self.estimator.step_of(image.to(self.device), task)

    def is_blank(self, bands: Iterable[np.ndarray]) -> bool:
        """Whether all pixels of a picture, in bands of rows (H, W, 3), are equal: there is nothing to judge it by.

        Raises:
            ConfigError: There is no estimator, so that none is judged.
        """
        self.check()
        first = None
        for band in bands:
            first = band[0, 0] if first is None else first
            if (band != first).any():
                return False
        return True

    def next_pass(
        self, image: Tensor, wish: Wish, steps: TaskSteps, avoided: Collection[str]
    ) -> tuple[Pass | None, Estimate | None]:
        """What is to be restored next of an image by estimates.

        Args:
            image: (1, 3, H, W) in [0, 1].
            wish: What is to be done: whether the step is that of the picture, where the task's samples had steps of
                their own; or the task's, unless the estimator only says what the restorer sees.
            steps: Time steps of the tasks.
            avoided: Damages that are not to be restored, or were restored already.

        Returns:
            The pass, and None; or None, and the estimate that was no ground for one, where it was one.
        """
        found = self.estimate(image)
        if not self.calls_for(found) or found.task in avoided:
            return None, found
        if wish.t == AUTO and found.task in self.judgement.steps:
            step = self.step(image, found.task)
            return (Pass(found.task, found.confidence, step), None) if step else (None, None)
        own = self.judgement.step
        return Pass(found.task, found.confidence, steps.of_task(found.task) if own is None else own), None

    @torch.inference_mode()
    def estimate(self, image: Tensor) -> Estimate:
        """The likeliest class of an image (1, 3, H, W) in [0, 1].

        Raises:
            ConfigError: there is no estimator.
        """
        self.check()
        chances = self.estimator(image.to(self.device)).float().softmax(1)[0]
        classes = self.judgement.classes
        best = int(chances.argmax())
        damages = chances[[index for index, name in enumerate(classes) if name != CLEAN]]
        return Estimate(classes[best], float(chances[best]), float(damages.topk(min(2, len(damages))).values.sum()))

    def calls_for(self, estimate: Estimate) -> bool:
        """Whether the estimate is a damage, known well enough, that the restorer was trained on."""
        mixture = self.judgement.least_of_two
        sure = estimate.confidence >= self.judgement.least_confidence
        sure |= mixture is not None and estimate.of_two >= mixture
        return estimate.task != CLEAN and estimate.task in self.tasks and sure
