"""The forward process that the generative pre-training draws its noise from."""

import torch
from torch import Tensor

from dtir.core.ranges import PositiveInt
from dtir.diffusion.schedulers import Scheduler
from dtir.registry import SCHEDULERS


@SCHEDULERS.register_module()
class MySineScheduler(Scheduler):
    """Variance-preserving, `sigma_t = sin(pi t / 2 (T + 1))`.

    Args:
        num_timesteps: T, the noisiest step.
    """

    def __init__(self, num_timesteps: PositiveInt = 50) -> None:
        super().__init__(num_timesteps)
        # For the device: buffers move with the model.
        self.register_buffer("zero", torch.zeros(()), persistent=False)

    def marginal(self, t: int | Tensor) -> tuple[Tensor, Tensor]:
        """Mean coefficient and standard deviation at steps 0..T, each (B, 1, 1, 1)."""
        steps = torch.as_tensor(t, device=self.zero.device, dtype=torch.float32).reshape(-1, 1, 1, 1)
        angle = steps / (self.num_timesteps + 1) * torch.pi / 2
        return angle.cos(), angle.sin()

    def loss_weight(self, t: Tensor, kind: str = "uniform") -> Tensor:
        """Weights (B,) of the generative loss at steps (B,)."""
        return torch.ones_like(t, dtype=torch.float32)
