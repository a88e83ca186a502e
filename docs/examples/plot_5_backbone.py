"""
A network of your own in a few lines
====================================

Any network from a picture to one of the same size can be trained the diffusion way. It names its blocks; the time step
comes in from outside.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from torch import nn

import dtir
from dtir.datasets.degradations import GaussianNoise
from dtir.models import ConditionedNetwork
from dtir.registry import BACKBONES

torch.manual_seed(0)

# %%
# The network.


@BACKBONES.register_module()
class FifteenLines(nn.Module):
    """Convolutions with a global skip."""

    def __init__(self, width: int = 24):
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1)
        self.body = nn.ModuleList(nn.Sequential(nn.GELU(), nn.Conv2d(width, width, 3, padding=1)) for _ in range(3))

    def ordered_blocks(self):
        return [f"body.{i}" for i in range(len(self.body))]

    def forward(self, x):
        y = self.head(x)
        for block in self.body:
            y = y + block(y)
        return x - self.tail(y)


network = ConditionedNetwork({"type": "FifteenLines"})
print(f"{sum(p.numel() for p in network.parameters()):,} parameters, {len(network.backbone.ordered_blocks())} blocks")

# %%
# Twenty steps on crops with noise, to see that it learns. A real training is a config and ``dtir train``, see
# :doc:`/custom_backbone`.

photos = Path(dtir.__file__).parent / "assets" / "photos"
photo = np.array(Image.open(photos / "rocket.jpg").convert("RGB"), np.float32) / 255
rng = np.random.default_rng(0)
optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)


def draw(count: int, side: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy and clean crops (count, 3, side, side)."""
    corners = [(rng.integers(0, photo.shape[0] - side), rng.integers(0, photo.shape[1] - side)) for _ in range(count)]
    clean = [photo[top : top + side, left : left + side] for top, left in corners]
    noisy = [GaussianNoise()(crop, rng, 0.5) for crop in clean]
    return tuple(torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous() for crops in (noisy, clean))


losses = []
for _ in range(20):
    noisy, clean = draw(4)
    loss = (network(noisy, torch.full((4,), 7)) - clean).abs().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    losses.append(loss.item())

# %%
# The error of what goes in stands beside it: below the line, the network does better than leaving the pictures alone.

plt.figure(figsize=(7, 3), layout="constrained")
plt.plot(losses, label="network")
plt.axhline((noisy - clean).abs().mean().item(), linestyle="--", color="grey", label="noisy crops as they are")
plt.xlabel("step")
plt.ylabel("mean absolute error")
plt.legend()
plt.show()
