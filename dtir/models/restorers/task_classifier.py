"""Training of the estimator of the blind time step by itself: in the same loop, on the same data."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.models.estimator import TaskEstimator
from dtir.registry import RESTORERS
from dtir.tasks import CLEAN

from .base import Restorer


@RESTORERS.register_module()
class TaskClassifier(Restorer):
    """A `TaskEstimator` that trains; it leaves every picture as it is.

    A crop that the damage missed or hardly touched is clean, whatever the set that it is from: so the estimator learns
    from which damage on there is something to restore.

    Args:
        tasks: Names of the degradations, in the order of the dataset's tasks; "clean" may be among them.
        width: Channels of the estimator's first layer.
        clean_above: PSNR in dB between degraded and clean picture above which the sample counts as "clean", where that
            is one of the tasks.
        label_smoothing: Share of the label that is spread over all tasks, as mixtures have two of which one is named.
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
        self.estimator = TaskEstimator(len(tasks), width, tasks)
        self.width = width
        self.clean_above, self.label_smoothing = clean_above, label_smoothing

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
        return torch.where(error < 10 ** (-self.clean_above / 10), self.tasks.index(CLEAN), task)

    def losses(self, lq: Tensor, samples: dict) -> dict[str, Tensor]:
        """`loss_task`, the cross-entropy with smoothed labels.

        Raises:
            ConfigError: The stage asks for generative samples.
        """
        self.refuse_generative(samples)
        labels = self.labels(lq, samples["gt"], samples["task"])
        logits = self.estimator(lq).float()
        return {"loss_task": F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)}
