"""Restorers of which nothing but the network's weights is known."""

import torch
from torch import Tensor, nn

from dtir.models.backbones.parts.pictures import restored_picture

TASK = "restoration"


class SoleTask(nn.Module):
    """What stands in for an estimator of a restorer with one task: it always names that one.

    Args:
        task: Its name.
    """

    least_confidence = 0.0

    def __init__(self, task: str = TASK) -> None:
        super().__init__()
        self.classes = (task,)

    def forward(self, picture: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) to logits (B, 1)."""
        return picture.new_zeros(len(picture), 1)


class WeightsRestorer(nn.Module):
    """Restores with a network of which nothing but the weights is known: it has one task and no time steps.

    Args:
        backbone: A network from pictures (B, 3, H, W), with `traits`.
    """

    tasks = (TASK,)
    num_timesteps = 0

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.estimator = SoleTask()
        self.register_buffer("matched_t", torch.zeros(1, dtype=torch.long))

    def restore(self, lq: Tensor, t: Tensor) -> Tensor:
        """Degraded (B, 3, H, W) in [0, 1] to pictures of `scale` times the size, not clipped; `t` plays no part."""
        return restored_picture(self.backbone, lq)
