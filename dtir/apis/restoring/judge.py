"""Which damage a picture has, and whether that is ground enough to change it."""

import torch
from torch import Tensor, nn

from dtir.apis.restoring.outcome import Estimate
from dtir.apis.restoring.steps import TaskSteps
from dtir.core.errors import ConfigError
from dtir.tasks import CLEAN


class Judge:
    """The estimator of a restorer, if it has one.

    Args:
        restorer: With `tasks`, and an `estimator` or None.
        device: Device of the estimator.
    """

    def __init__(self, restorer: nn.Module, device: torch.device) -> None:
        self.estimator = getattr(restorer, "estimator", None)
        self.tasks = tuple(restorer.tasks)
        self.device = device

    def check(self) -> None:
        """Raises ConfigError if there is no estimator."""
        if self.estimator is None:
            raise ConfigError(
                "task='auto' needs a checkpoint that was trained with dict(type='BlindTaskHook') in custom_hooks; name "
                f"the task: {', '.join(self.tasks)}."
            )

    def most_passes(self, wished: int) -> int:
        """How often a picture may be restored by estimates: fewer than wished where the estimator says so."""
        return min(wished, getattr(self.estimator, "most_passes", wished))

    def step_of(self, estimate: Estimate, steps: TaskSteps) -> int:
        """The time step for what was estimated: the task's, unless the estimator only says what the restorer sees."""
        own = getattr(self.estimator, "step", None)
        return steps.of_task(estimate.task) if own is None else own

    @torch.inference_mode()
    def estimate(self, image: Tensor) -> Estimate:
        """The likeliest class of an image (1, 3, H, W) in [0, 1].

        Raises:
            ConfigError: there is no estimator.
        """
        self.check()
        chances = self.estimator(image.to(self.device)).float().softmax(1)[0]
        best = int(chances.argmax())
        return Estimate((getattr(self.estimator, "classes", ()) or self.tasks)[best], float(chances[best]))

    def calls_for(self, estimate: Estimate) -> bool:
        """Whether the estimate is a damage, known well enough, that the restorer was trained on."""
        least = getattr(self.estimator, "least_confidence", 0.0)
        return estimate.task != CLEAN and estimate.task in self.tasks and estimate.confidence >= least
