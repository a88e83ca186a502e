"""The random numbers of a training batch."""

import torch
from torch import Tensor

from dtir.core.seeding import device_generator


class BatchDraws:
    """Random numbers for the samples of a micro-batch, one after another from one seed.

    Every call draws for the whole optimiser step and takes its own samples' share, so that 1 process with 8 samples
    draws what 2 with 4 draw, or one with 2 micro-batches of 4.

    Args:
        like: Pictures (B, 3, H, W); shape and device of the noise.
        seed: `noise_seed` of the step, the same in all processes and micro-batches.
        slots: Places (N,) in the step of the samples that the numbers are for.
        step_size: Samples of the whole step; None where `like` are all of them.
    """

    def __init__(self, like: Tensor, seed: int, slots: Tensor, step_size: int | None = None) -> None:
        self.generator = device_generator(like.device, seed)
        self.total = len(like) if step_size is None else step_size
        self.own = slots
        self.shape, self.device = like.shape[1:], like.device

    def steps(self, last: int) -> Tensor:
        """Steps (N,), uniform in 1..last."""
        t = torch.randint(1, last + 1, (self.total,), generator=self.generator, device=self.device)
        return t[self.own]

    def uniform(self) -> Tensor:
        """Numbers (N,), uniform in [0, 1)."""
        return torch.rand((self.total,), generator=self.generator, device=self.device)[self.own]

    def noise(self) -> Tensor:
        """Standard normal noise (N, 3, H, W)."""
        return torch.randn((self.total, *self.shape), generator=self.generator, device=self.device)[self.own]
