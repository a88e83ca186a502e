"""Which damage a picture has, and whether that is ground enough to change it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dtir.apis.restoring.contract import Judgement, judgement_of
from dtir.apis.restoring.outcome import Estimate, Pass
from dtir.apis.restoring.steps import TaskSteps
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

    def pass_of(self, estimate: Estimate, steps: TaskSteps) -> Pass:
        """Restoring what was estimated, at the task's step unless the estimator only says what the restorer sees."""
        own = self.judgement.step
        return Pass(estimate.task, estimate.confidence, steps.of_task(estimate.task) if own is None else own)

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
