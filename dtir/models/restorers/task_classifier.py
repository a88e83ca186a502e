"""Training of the estimator of the blind time step by itself: in the same loop, on the same data."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.core.errors import ConfigError
from dtir.models.estimator import TaskEstimator
from dtir.models.glance import Glance
from dtir.registry import RESTORERS
from dtir.tasks import CLEAN

from .base import Restorer


@RESTORERS.register_module()
class TaskClassifier(Restorer):
    """A `TaskEstimator` that trains; it leaves every picture as it is.

    A crop that the damage missed or hardly touched is clean, whatever the set that it is from: so the estimator learns
    from which damage on there is something to restore. Where the dataset tells of several damages (`tell_damages` of
    `MultiTaskDataset`), those that are more than that share the target by the difference that each makes (RMS), so
    that the larger is the likelier.

    Args:
        tasks: Names of the degradations, in the order of the dataset's tasks; "clean" may be among them.
        width: Channels of the estimator's first layer.
        clean_above: PSNR in dB between degraded and clean picture above which the sample counts as "clean", where that
            is one of the tasks; and above which one of several damages is none.
        label_smoothing: Share of the label that is spread over all tasks, as pictures may have more than is named.
        data_preprocessor: As in `Restorer`.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        width: int = 24,
        clean_above: float = 40.0,
        label_smoothing: float = 0.05,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(tasks, 0, data_preprocessor=data_preprocessor)
        self.backbone = nn.Identity()
        self.estimator = self.made(tasks, width)
        self.width = width
        self.clean_above, self.label_smoothing = clean_above, label_smoothing

    def made(self, tasks: Sequence[str], width: int) -> nn.Module:
        """What is trained: from pictures (B, 3, H, W) to logits (B, number of tasks)."""
        return TaskEstimator(len(tasks), width, tasks)

    @property
    def num_timesteps(self) -> int:
        """0: there is no time."""
        return 0

    def restore(self, lq: Tensor, t: Tensor) -> Tensor:
        """The pictures (B, 3, H, W) themselves."""
        return lq

    def labels(self, lq: Tensor, gt: Tensor, task: Tensor) -> Tensor:
        """Indices (B,) of the tasks to tell of pictures (B, 3, H, W) in [0, 1], given those of their sets (B,)."""
        if CLEAN not in self.tasks:
            return task
        error = (lq - gt).square().flatten(1).mean(1)
        return torch.where(error < self.least_error, self.tasks.index(CLEAN), task)

    def shares(self, labels: Tensor, damages: Tensor) -> Tensor:
        """What of the target each task has, (B, number of tasks), each row of sum 1.

        Args:
            labels: Indices (B,) as `labels` gives them; they have all where no more is known.
            damages: (B, number of tasks), the mean squared difference that the damage of each task made, see
                `MultiTaskDataset`.
        """
        alone = F.one_hot(labels, len(self.tasks)).float()
        found = torch.where(damages >= self.least_error, damages, 0).sqrt()
        if CLEAN in self.tasks:
            # All damages together may be next to nothing, too.
            found *= (labels != self.tasks.index(CLEAN))[:, None]
        whole = found.sum(1, keepdim=True)
        return torch.where(whole > 0, found / whole.clamp(min=self.least_error), alone)

    @property
    def least_error(self) -> float:
        """Mean squared difference that is a damage."""
        return 10 ** (-self.clean_above / 10)

    def losses(self, lq: Tensor, samples: dict) -> dict[str, Tensor]:
        """`loss_task`, the cross-entropy with smoothed labels, shared where `samples` tells of several damages.

        Raises:
            ConfigError: The stage asks for generative samples.
        """
        self.refuse_generative(samples)
        target = self.labels(lq, samples["gt"], samples["task"])
        if "damages" in samples:
            target = self.shares(target, samples["damages"])
        logits = self.estimator(lq).float()
        return {"loss_task": F.cross_entropy(logits, target, label_smoothing=self.label_smoothing)}


@RESTORERS.register_module()
class GlanceClassifier(TaskClassifier):
    """A `Glance` that trains, as a `TaskClassifier` does; `dtir models pack --glance` gives it to an estimator.

    Args:
        tasks: "clean" first, which stands for none of the others; then what it is to tell.
        width: Half of the channels of its first layer.
        **others: As of a `TaskClassifier`.

    Raises:
        ConfigError: There are several tasks, and "clean" is not the first.
    """

    def made(self, tasks: Sequence[str], width: int) -> nn.Module:
        """The `Glance`."""
        if len(tasks) > 1 and tasks[0] != CLEAN:
            raise ConfigError(
                f"GlanceClassifier tasks={list(tasks)}: expected '{CLEAN}' first, which stands for all that it is not "
                "to tell, and then the damages."
            )
        return Glance(tasks[1:], width)
