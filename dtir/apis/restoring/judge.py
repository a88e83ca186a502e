"""Which damage a picture has, and whether that is ground enough to change it."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from dtir.apis.restoring.contract import Judgement, judgement_of
from dtir.apis.restoring.outcome import Estimate, Pass
from dtir.apis.restoring.steps import TaskSteps
from dtir.apis.restoring.trial import evened, small_copy, tells
from dtir.apis.restoring.wish import AUTO, Wish
from dtir.core.errors import ConfigError
from dtir.tasks import CLEAN

# By damage that is found, one that is removed before it where its chance is so large at least: noise came last, and a
# picture that is lit up first keeps it as a grain that is no noise to a network any more. Not the other way round: of
# a picture that is denoised the estimator is asked again, as many a noisy one is taken for dark by such a chance.
BEFORE = {"low-light": ("noisy", 0.1)}


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

    def next_passes(
        self, image: Tensor, wish: Wish, steps: TaskSteps, avoided: Collection[str], left: int
    ) -> tuple[list[Pass], Estimate | None]:
        """What is to be restored next of an image by estimates.

        Args:
            image: (1, 3, H, W) in [0, 1].
            wish: What is to be done: whether the step is that of the picture, where the task's samples had steps of
                their own; or the task's, unless the estimator only says what the restorer sees.
            steps: Time steps of the tasks.
            avoided: Damages that are not to be restored, or were restored already.
            left: How many passes there may be yet, at least 1.

        Returns:
            One pass, or two where one goes before it (`BEFORE`), and None; or none, and the estimate that was no
            ground for one, where it was one.
        """
        chances = self.chances(image)
        found = likeliest(chances)
        if not self.calls_for(found) or found.task in avoided:
            return [], found
        tasks = self._in_order(found.task, chances, avoided) if left > 1 else (found.task,)
        passes = {task: self._pass(image, task, chances[task], wish, steps) for task in tasks}
        # What goes with it is likely enough beside it, and not by itself.
        return [] if passes[found.task] is None else [one for one in passes.values() if one is not None], None

    @torch.inference_mode()
    def tried(
        self,
        image: Tensor,
        restore: Callable[[Tensor, int], Tensor],
        wish: Wish,
        steps: TaskSteps,
        avoided: Collection[str],
    ) -> Pass | None:
        """A pass for damage that the estimator does not name and the restorer removes from a small copy.

        Args:
            image, wish, steps, avoided: As of `next_passes`.
            restore: Restores an image (1, 3, H, W) in [0, 1] at a time step.

        Returns:
            The pass, with the share of the unevenness that is gone in place of a probability; or None.

        Raises:
            ImageFileError: The network's output is not finite, or a small copy does not fit into memory.
        """
        trials = {task: least for task, least in self.judgement.trials.items() if task in {*self.tasks} - {*avoided}}
        copy = small_copy(image)
        for task, least in trials.items() if tells(copy) else ():
            share = evened(copy, restore(copy, steps.of_task(task)))
            found = self._pass(image, task, share, wish, steps) if share >= least else None
            if found is not None:
                return found
        return None

    def _in_order(self, task: str, chances: Mapping[str, float], avoided: Collection[str]) -> tuple[str, ...]:
        before, least = BEFORE.get(task, (None, 0.0))
        if before in self.tasks and before not in avoided and chances.get(before, 0.0) >= least:
            return before, task
        return (task,)

    def _pass(self, image: Tensor, task: str, chance: float, wish: Wish, steps: TaskSteps) -> Pass | None:
        """None where the picture's own step says that there is nothing to do."""
        if wish.t == AUTO and task in self.judgement.steps:
            step = self.step(image, task)
            return Pass(task, chance, step) if step else None
        own = self.judgement.step
        return Pass(task, chance, steps.of_task(task) if own is None else own)

    def estimate(self, image: Tensor) -> Estimate:
        """The likeliest class of an image (1, 3, H, W) in [0, 1].

        Raises:
            ConfigError: there is no estimator.
        """
        return likeliest(self.chances(image))

    @torch.inference_mode()
    def chances(self, image: Tensor) -> dict[str, float]:
        """The probability of each class for an image (1, 3, H, W) in [0, 1].

        Raises:
            ConfigError: There is no estimator.
        """
        self.check()
        chances = self.estimator(image.to(self.device)).float().softmax(1)[0]
        return dict(zip(self.judgement.classes, chances.tolist(), strict=True))

    def calls_for(self, estimate: Estimate) -> bool:
        """Whether the estimate is a damage, known well enough, that the restorer was trained on."""
        mixture = self.judgement.least_of_two
        sure = estimate.confidence >= self.judgement.least_confidence
        sure |= mixture is not None and estimate.of_two >= mixture
        return estimate.task != CLEAN and estimate.task in self.tasks and sure


def likeliest(chances: Mapping[str, float]) -> Estimate:
    """The estimate that probabilities by class are."""
    task = max(chances, key=chances.__getitem__)
    damages = sorted((chance for name, chance in chances.items() if name != CLEAN), reverse=True)
    return Estimate(task, chances[task], sum(damages[:2]))
