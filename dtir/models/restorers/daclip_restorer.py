"""IR-SDE with embeddings of the degradation and the content, as DA-CLIP has it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from dtir.registry import RESTORERS

from .bridge_restorer import BridgeRestorer


@RESTORERS.register_module()
class DACLIPRestorer(BridgeRestorer):
    """A `BridgeRestorer` whose network also gets embeddings of a picture's task (Luo et al., DA-CLIP, ICLR 2024).

    The CLIP towers stay outside: the embeddings are one per task, computed once, such as the mean of those that the
    controller gives for the task's training pictures. `TaskContextsHook` reads them when a training starts, and
    checkpoints carry them. The time step of a task is its place among `tasks`: `--t 2` takes the third one's.

    Args:
        backbone: Config of a network `f(x_t, y, t, text_context, image_context)`, `DACLIPUNet`.
        tasks: Names of the degradations, in the order of the dataset's tasks.
        context_dim: Length of the embeddings.
        **options: Of `BridgeRestorer`.

    Attributes:
        text_context: Buffer (tasks, context_dim), embeddings of the degradations.
        image_context: Buffer (tasks, context_dim), embeddings of the content.
    """

    text_context: Tensor
    image_context: Tensor

    def __init__(self, backbone: dict, tasks: Sequence[str], context_dim: int = 512, **options) -> None:
        super().__init__(backbone, tasks, **options)
        self.register_buffer("text_context", torch.zeros(len(tasks), context_dim))
        self.register_buffer("image_context", torch.zeros(len(tasks), context_dim))
        self.matched_t.copy_(torch.arange(len(tasks)))
        self._task = torch.zeros(1, dtype=torch.long)

    @property
    def num_timesteps(self) -> int:
        """Of the last task; see above."""
        return len(self.tasks) - 1

    @override
    def losses(self, lq: Tensor, samples: dict) -> dict[str, Tensor]:
        self._task = samples["task"]
        return super().losses(lq, samples)

    def restore(self, lq: Tensor, t: Tensor) -> Tensor:
        """One sample for each degraded picture (B, 3, H, W) in [0, 1], of tasks t (B,)."""
        self._task = t
        return super().restore(lq, t)

    @override
    def call_network(self, x: Tensor, condition: Tensor, level: Tensor, network: nn.Module | None = None) -> Tensor:
        task = self._task.repeat(len(x) // len(self._task))
        network = self.backbone if network is None else network
        return network(x, condition, level, self.text_context[task], self.image_context[task])
