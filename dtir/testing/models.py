"""The smallest backbone that has all that the method needs; also an example of a custom one."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from dtir.models.backbones.traits import Traits
from dtir.registry import BACKBONES


@BACKBONES.register_module()
class TinyBackbone(nn.Module):
    """Two residual convolutions and a global skip.

    Args:
        width: Channels.
    """

    traits: ClassVar[Traits] = Traits(size_multiple=1, tiles="exact")

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.tail = nn.Conv2d(width, 3, 3, padding=1)

    def ordered_blocks(self) -> list[str]:
        """Names of the blocks, shallow to deep."""
        return ["blocks.0", "blocks.1"]

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to the same shape."""
        y = self.head(x)
        for block in self.blocks:
            y = y + block(torch.relu(y))
        return x + self.tail(y)
