"""The network: from (B, 3, H, W) in [0, 1] to the same size."""

from torch import Tensor, nn

from dtir.core.ranges import PositiveInt
from dtir.registry import BACKBONES


def block(width: int) -> nn.Module:
    """Two convolutions; the caller adds the way around them."""
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1))


@BACKBONES.register_module()
class MyNet(nn.Module):
    """Residual blocks at full size, with a global skip.

    Args:
        width: Channels.
        depth: Blocks.
    """

    def __init__(self, width: PositiveInt = 16, depth: PositiveInt = 4) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.ModuleList(block(width) for _ in range(depth))
        self.tail = nn.Conv2d(width, 3, 3, padding=1)

    def ordered_blocks(self) -> list[str]:
        """Names of the blocks, shallow to deep: the time step enters at each."""
        return [f"body.{i}" for i in range(len(self.body))]

    def forward(self, x: Tensor) -> Tensor:
        """The picture minus what the network takes for damage."""
        features = self.head(x)
        for part in self.body:
            features = features + part(features)
        return x - self.tail(features)
