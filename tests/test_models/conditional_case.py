"""Small networks for the conditional restorer, and its equations by hand."""

import torch
from torch import nn

from dtir.core.seeding import derive_seed
from dtir.models import ConditionalDiffusionRestorer
from dtir.models.backbones.traits import Traits
from dtir.registry import BACKBONES, RESTORERS

SHORT = {"type": "DDPMScheduler", "num_timesteps": 20}

SMALL_NET = {"type": "ConditionalNAFNet", "width": 4, "enc_blk_nums": [1], "dec_blk_nums": [1]}


@BACKBONES.register_module()
class LinearConditional(nn.Module):
    """x / 2 - condition / 4 + level / 2000, pixel by pixel; keeps what it is given."""

    traits = Traits(size_multiple=1)

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[torch.Tensor, ...]] = []

    def forward(self, x, condition, level):
        self.seen.append((x, condition, level))
        return x / 2 - condition / 4 + level.view(-1, 1, 1, 1) / 2000 + self.bias


@BACKBONES.register_module()
class BestForGaussian(nn.Module):
    """The exact noise where x_0 given y is Gaussian of mean (y + y_0) / 2 and deviation s; y = 0 is no condition.

    With no condition the mean is 0. The level is 1000 a.
    """

    def __init__(self, s: float = 0.2) -> None:
        super().__init__()
        self.s = s

    def forward(self, x, condition, level):
        a = level.view(-1, 1, 1, 1) / 1000
        variance = 1 - a**2
        mean = condition / 2 + 0.2 * (condition != 0)
        return (x - a * mean) * variance.sqrt() / (a**2 * self.s**2 + variance)


def make(backbone="LinearConditional", **options) -> ConditionalDiffusionRestorer:
    network = {"type": backbone} if isinstance(backbone, str) else backbone
    config = {"type": "ConditionalDiffusionRestorer", "backbone": network, "tasks": ["hazy"], "scheduler": SHORT}
    return RESTORERS.build({"num_steps": 4, **config, **options})


def batch(size: int = 4, side: int = 6) -> tuple[torch.Tensor, dict]:
    lq, gt = torch.rand(2, size, 3, side, side, generator=torch.Generator().manual_seed(1))
    samples = {"gt": gt, "task": torch.zeros(size).long(), "num_generative": 0, "slots": torch.arange(size)}
    return lq, {**samples, "noise_seed": 5}


def by_hand(lq, gt, discrete: bool):
    """x_t, condition, level and noise of a batch, from the seed of the batch and the equations."""
    generator = torch.Generator().manual_seed(derive_seed(5))
    size = len(lq)
    t = torch.randint(1, 21, (size,), generator=generator)
    u = torch.rand(size, generator=generator)
    torch.rand(size, generator=generator)
    eps = torch.randn(lq.shape, generator=generator)
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    roots = torch.cat([torch.ones(1), (1 - betas).cumprod(0)[49::50].sqrt()])
    a = roots[t] if discrete else u * roots[t - 1] + (1 - u) * roots[t]
    wide = a.view(-1, 1, 1, 1)
    x_t = wide * (2 * gt - 1) + (1 - wide**2).sqrt() * eps
    return x_t.float(), 2 * lq - 1, t if discrete else (1000 * a).float(), eps
