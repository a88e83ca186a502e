"""The random numbers of a training batch."""

import torch
from mmengine.dist import get_rank, get_world_size
from torch import Tensor

from dtir.core.seeding import device_generator


class BatchDraws:
    """Random numbers for the samples of this process, one after another from one seed.

    Every call draws for the batch of all processes and takes its own samples' share, so that 1 process with 8 samples
    draws what 2 with 4 draw.

    Args:
        like: Pictures (B, 3, H, W) of the whole batch of this process; shape and device of the noise.
        seed: `noise_seed` of the batch, the same in all processes.
        slots: Places (N,) in the batch as drawn of the samples that the numbers are for.
    """

    def __init__(self, like: Tensor, seed: int, slots: Tensor) -> None:
        self.generator = device_generator(like.device, seed)
        self.total = len(like) * get_world_size()
        self.own = slots + len(like) * get_rank()
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
