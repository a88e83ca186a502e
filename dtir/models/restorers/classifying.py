"""A pre-training that tells the damage by a network's deep features, beside what the network restores."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from dtir.config.values import misfit
from dtir.core.errors import ConfigError
from dtir.core.ranges import NonNegative
from dtir.models.adapters.moe import tokens
from dtir.models.describing import DESCRIBED_BY, described
from dtir.models.probing import block_calls, channels_of, named_blocks
from dtir.registry import RESTORERS

from .supervised_restorer import SupervisedRestorer


@RESTORERS.register_module()
class ClassifyingRestorer(SupervisedRestorer):
    """A backbone that also learns which damage a picture has: DCPT (arXiv 2501.15510), or with a `MaskedDataset`
    MaskDCPT (arXiv 2510.13282).

    A linear layer tells the task by mean, spread and soft maximum of the features of the last of the backbone's
    smallest blocks, by a focal loss. The layer is of the training alone; what is handed on is `backbone`.

    Args:
        backbone: As of `SupervisedRestorer`; it declares its blocks by `ordered_blocks()`.
        tasks: At least two.
        class_weight: Of the focal loss beside the restoring one.
        gamma: Exponent of the focal loss: 0 is the cross-entropy.
        **options: As of `SupervisedRestorer`.

    Raises:
        ConfigError: As `SupervisedRestorer`; or there is one task, or a number is negative, or the backbone declares no
            blocks.
    """

    def __init__(
        self, backbone: dict, tasks: Sequence[str], class_weight: float = 1.0, gamma: float = 2.0, **options
    ) -> None:
        super().__init__(backbone, tasks, **options)
        if len(tasks) < 2:
            raise ConfigError(f"ClassifyingRestorer tasks={list(tasks)}: of one damage there is nothing to tell.")
        for name, value in (("class_weight", class_weight), ("gamma", gamma)):
            problem = misfit(value, NonNegative, f"model.{name}")
            if problem:
                raise ConfigError(str(problem))
        self.class_weight, self.gamma = class_weight, gamma
        calls = block_calls(self.backbone, named_blocks(self.backbone))
        pixels = {name: tokens(output).shape[1] for name, (_, output) in calls.items()}
        self.deepest = [name for name, number in pixels.items() if number == min(pixels.values())][-1]
        channels = channels_of(calls[self.deepest][1], self.deepest)
        self.head = nn.Linear(DESCRIBED_BY * channels, len(tasks))

    def losses(self, lq: Tensor, samples: dict) -> dict[str, Tensor]:
        """`loss_restoration`, and `loss_damage`, the weighted focal loss of the task.

        Raises:
            ConfigError: As `SupervisedRestorer.losses`.
        """
        seen: list[Tensor] = []
        block = self.backbone.get_submodule(self.deepest)
        watching = block.register_forward_hook(lambda module, args, output: seen.append(output))
        try:
            losses = super().losses(lq, samples)
        finally:
            watching.remove()
        logits = self.head(described(tokens(seen[0]).transpose(1, 2).unsqueeze(-1)))
        return {**losses, "loss_damage": self.class_weight * focal_loss(logits, samples["task"], self.gamma)}


def focal_loss(logits: Tensor, target: Tensor, gamma: float) -> Tensor:
    """The mean of `-(1 - p)^gamma log p`, p being the probability of the target (Lin et al., ICCV 2017).

    Args:
        logits: (B, classes).
        target: (B,), indices.
        gamma: At least 0; the larger, the less counts what is known well.
    """
    surprise = F.cross_entropy(logits.float(), target, reduction="none")
    return ((1 - (-surprise).exp()) ** gamma * surprise).mean()
