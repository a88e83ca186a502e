"""What an adapter is: a module that the conditioning attaches to a block of the backbone."""

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


class ParallelAdapter(nn.Module, ABC):
    """Runs beside the last pointwise layer of a block, a 1x1 convolution or a linear layer, and adds to its output.

    What is linear at every pixel can then become part of that layer's weight. At initialisation it must add zeros.

    Args:
        in_channels: Channels of the layer's input.
        out_channels: Channels of its output.
        prompt_dim: Length of the time prompt.
    """

    def __init__(self, in_channels: int, out_channels: int, prompt_dim: int) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.prompt_dim = prompt_dim

    @abstractmethod
    def forward(self, x: Tensor, prompt: Tensor) -> Tensor:
        """What is added to the layer's output, from its input x: (B, C, H, W) or tokens (B, N, C)."""

    def added(self, output: Tensor, x: Tensor, prompt: Tensor) -> Tensor:
        """The layer's output with what is added to it."""
        return output + self(x, prompt)
