"""IR-SDE with embeddings of the degradation and the content, as DA-CLIP has it."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from typing_extensions import override

from dtir.core.errors import CheckpointError
from dtir.models.daclip import DACLIP, DamageReader, read_daclip
from dtir.registry import RESTORERS
from dtir.tasks import folder_names

from .bridge_restorer import BridgeRestorer


@RESTORERS.register_module()
class DACLIPRestorer(BridgeRestorer):
    """A `BridgeRestorer` whose network also gets embeddings of damage and content (Luo et al., DA-CLIP, ICLR 2024).

    In a training the CLIP towers stay outside: the embeddings are one per task, computed once, such as the mean of
    those that the controller gives for the task's training pictures. `TaskContextsHook` reads them when a training
    starts, and checkpoints carry them. The time step of a task is its place among `tasks`: `--t 2` takes the third
    one's.

    With DA-CLIP's own model (`set_encoder`) the embeddings are those of each picture, as published: at step 0. The step
    of a task is then its place counted from 1, and takes the embedding of its name in place of that of the damage, at
    the same length.

    Args:
        backbone: Config of a network `f(x_t, y, t, text_context, image_context)`, `DACLIPUNet`.
        tasks: Names of the degradations, in the order of the dataset's tasks.
        context_dim: Length of the embeddings.
        **options: Of `BridgeRestorer`.

    Attributes:
        text_context: Buffer (tasks, context_dim), embeddings of the degradations.
        image_context: Buffer (tasks, context_dim), embeddings of the content.
        encoder: DA-CLIP's model, or None.
    """

    text_context: Tensor
    image_context: Tensor

    def __init__(self, backbone: dict, tasks: Sequence[str], context_dim: int = 512, **options) -> None:
        super().__init__(backbone, tasks, **options)
        self.register_buffer("text_context", torch.zeros(len(tasks), context_dim))
        self.register_buffer("image_context", torch.zeros(len(tasks), context_dim))
        self.matched_t.copy_(torch.arange(len(tasks)))
        self.encoder: DACLIP | None = None
        self._contexts = self.text_context[:1], self.image_context[:1]

    @property
    def num_timesteps(self) -> int:
        """The time step of the last task; see above."""
        return len(self.tasks) - (self.encoder is None)

    def set_encoder(self, place: str | Path) -> None:
        """Takes the embeddings of each picture from DA-CLIP's model, which also tells the task.

        Args:
            place: Its checkpoint, such as `daclip_ViT-B-32.pt`.

        Raises:
            CheckpointError: It cannot be read, or its embeddings are of another length.
            LibraryError: open_clip is not installed.
        """
        encoder, expected = read_daclip(place), self.text_context.shape[1]
        if encoder.dim != expected:
            raise CheckpointError(
                f"'{place}' gives embeddings of length {encoder.dim}, and the network takes {expected}; they belong to "
                "different models."
            )
        self.encoder = encoder.to(self.text_context.device)
        self.estimator = DamageReader(self.encoder, self.tasks, [folder_names(task)[-1] for task in self.tasks])
        self.matched_t.copy_(torch.arange(len(self.tasks)) + 1)

    @override
    def losses(self, lq: Tensor, samples: dict) -> dict[str, Tensor]:
        self._contexts = self.text_context[samples["task"]], self.image_context[samples["task"]]
        return super().losses(lq, samples)

    def restore(self, lq: Tensor, t: Tensor) -> Tensor:
        """One sample for each degraded picture (B, 3, H, W) in [0, 1], at steps (B,) as said of the class."""
        self._contexts = self.contexts(lq, t)
        return super().restore(lq, t)

    @torch.no_grad()
    def contexts(self, lq: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, context_dim) of the damage and of the content of pictures (B, 3, H, W), at steps (B,)."""
        if self.encoder is None:
            return self.text_context[t], self.image_context[t]
        content, damage = self.encoder.embed(self.encoder.prepared(lq))
        named = self.estimator.words[(t - 1).clamp(min=0)] * damage.norm(dim=1, keepdim=True)
        return torch.where(t[:, None] == 0, damage, named), content

    @override
    def call_network(self, x: Tensor, condition: Tensor, level: Tensor, network: nn.Module | None = None) -> Tensor:
        times = len(x) // len(self._contexts[0])
        text, image = (context.repeat(times, 1) for context in self._contexts)
        network = self.backbone if network is None else network
        return network(x, condition, level, text, image)
