"""What an adapter is: a module that the conditioning attaches after a block of the backbone."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Adapter(nn.Module, ABC):
    """Changes a block's output by the time prompt. At initialisation it must change nothing.

    Subclasses are registered in `ADAPTERS`; all adapters of a network exist from the first iteration, and stages only
    toggle their `requires_grad`.

    Args:
        channels: Channels of the block's output.
        prompt_dim: Length of the time prompt.
    """

    def __init__(self, channels: int, prompt_dim: int) -> None:
        super().__init__()
        self.channels = channels
        self.prompt_dim = prompt_dim

    @abstractmethod
    def forward(self, x: Tensor, prompt: Tensor) -> Tensor:
        """The adapted output, like x: (B, C, H, W) or tokens (B, N, C); `prompt` is (B, prompt_dim)."""
