"""PReNet and its relatives (Ren et al., "Progressive Image Deraining Networks: A Better and Simpler Baseline", CVPR
2019), with the published state-dict keys."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.models.backbones.parts.reading import State
from dtir.models.backbones.traits import Published, Traits
from dtir.registry import BACKBONES

WIDTH = 32
REPEATS = 5


def _conv(channels: int, out: int = WIDTH) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 3, padding=1)


class ProgressiveNetwork(nn.Module, ABC):
    """The same small network, run again and again on the rainy picture and the last result.

    Args:
        recurrent_iter: How often.
        use_GPU: Accepted for the sake of published settings; tensors are made where the picture is.
        residual_blocks: 5 residual blocks, or 1 that is run 5 times.
    """

    traits: ClassVar[Traits] = Traits(size_multiple=1, tiles="exact")
    # Whether a stage gives what is added to the rainy picture, or the picture itself.
    global_skip = True

    def __init__(self, recurrent_iter: int, use_GPU: bool, residual_blocks: int) -> None:
        super().__init__()
        self.iteration = recurrent_iter
        self.residual_blocks = residual_blocks
        self.conv0 = nn.Sequential(_conv(6), nn.ReLU())
        for k in range(1, residual_blocks + 1):
            block = nn.Sequential(_conv(WIDTH), nn.ReLU(), _conv(WIDTH), nn.ReLU())
            setattr(self, f"res_conv{k}", block)
        self.conv = nn.Sequential(_conv(WIDTH, 3))

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """No constructor arguments: no key tells how often the network is run.

        Raises:
            KeyError: The keys are another network's.
        """
        if "res_conv1.0.weight" not in state:
            raise KeyError("res_conv1.0.weight")
        return {}

    def ordered_blocks(self) -> list[str]:
        """The first convolution and the residual blocks; each is called in every stage."""
        return ["conv0", *(f"res_conv{k}" for k in range(1, self.residual_blocks + 1))]

    @abstractmethod
    def recur(self, x: Tensor, state: tuple[Tensor, ...] | None) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        """Features (B, 32, H, W) and the state of the last stage, None in the first, to new ones."""

    def forward(self, input: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Pictures (B, 3, H, W) in [0, 1], H, W >= 1.

        Returns:
            The last stage's pictures (B, 3, H, W), not clipped, and those of all stages.
        """
        x, state, stages = input, None, []
        for _ in range(self.iteration):
            features, state = self.recur(self.conv0(torch.cat([input, x], 1)), state)
            for k in range(REPEATS):
                block = getattr(self, f"res_conv{min(k + 1, self.residual_blocks)}")
                features = F.relu(block(features) + features)
            x = self.conv(features)
            x = x + input if self.global_skip else x
            stages.append(x)
        return x, stages


class LSTMNetwork(ProgressiveNetwork):
    """A convolutional LSTM between the stages.

    Its four gates are one convolution: they read the same features.

    Args:
        recurrent_iter: As in `ProgressiveNetwork`.
        use_GPU: As in `ProgressiveNetwork`.
        residual_blocks: As in `ProgressiveNetwork`.
    """

    def __init__(self, recurrent_iter: int, use_GPU: bool, residual_blocks: int) -> None:
        super().__init__(recurrent_iter, use_GPU, residual_blocks)
        self.conv_i = nn.Sequential(_conv(2 * WIDTH), nn.Sigmoid())
        self.conv_f = nn.Sequential(_conv(2 * WIDTH), nn.Sigmoid())
        self.conv_g = nn.Sequential(_conv(2 * WIDTH), nn.Tanh())
        self.conv_o = nn.Sequential(_conv(2 * WIDTH), nn.Sigmoid())

    def recur(self, x: Tensor, state: tuple[Tensor, ...] | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Features (B, 32, H, W) and (hidden, cell) to hidden and (hidden, cell)."""
        hidden, cell = (torch.zeros_like(x),) * 2 if state is None else state
        gates = [part[0] for part in (self.conv_i, self.conv_f, self.conv_o, self.conv_g)]
        weight, bias = torch.cat([g.weight for g in gates]), torch.cat([g.bias for g in gates])
        i, f, o, g = F.conv2d(torch.cat([x, hidden], 1), weight, bias, padding=1).chunk(4, dim=1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
        return hidden, (hidden, cell)


@BACKBONES.register_module()
class PReNet(LSTMNetwork):
    """PReNet: five residual blocks and an LSTM between the stages.

    Args:
        recurrent_iter: Stages.
        use_GPU: Accepted for the sake of published settings, without effect.
    """

    PUBLISHED: ClassVar[Mapping[str, Published]] = {"prenet": Published({}, 0.168963)}

    def __init__(self, recurrent_iter: int = 6, use_GPU: bool = True) -> None:
        super().__init__(recurrent_iter, use_GPU, REPEATS)


@BACKBONES.register_module()
class PReNet_r(LSTMNetwork):  # noqa: N801 as published
    """PReNet with one residual block, run five times in a stage.

    Args:
        recurrent_iter: Stages.
        use_GPU: Accepted for the sake of published settings, without effect.
    """

    PUBLISHED: ClassVar[Mapping[str, Published]] = {"prenet_r": Published({}, 0.094979)}

    def __init__(self, recurrent_iter: int = 6, use_GPU: bool = True) -> None:
        super().__init__(recurrent_iter, use_GPU, 1)


@BACKBONES.register_module()
class PReNet_GRU(ProgressiveNetwork):  # noqa: N801 as published
    """PReNet with a convolutional GRU; its stages give the picture itself, without a skip.

    Args:
        recurrent_iter: Stages.
        use_GPU: Accepted for the sake of published settings, without effect.
    """

    PUBLISHED: ClassVar[Mapping[str, Published]] = {"prenet_gru": Published()}
    global_skip = False

    def __init__(self, recurrent_iter: int = 6, use_GPU: bool = True) -> None:
        super().__init__(recurrent_iter, use_GPU, REPEATS)
        self.conv_z = nn.Sequential(_conv(2 * WIDTH), nn.Sigmoid())
        self.conv_b = nn.Sequential(_conv(2 * WIDTH), nn.Sigmoid())
        self.conv_g = nn.Sequential(_conv(2 * WIDTH), nn.Tanh())

    def recur(self, x: Tensor, state: tuple[Tensor, ...] | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Features (B, 32, H, W) and (hidden,) to hidden and (hidden,)."""
        (hidden,) = (torch.zeros_like(x),) if state is None else state
        both = torch.cat([x, hidden], 1)
        update = self.conv_z(both)
        proposal = self.conv_g(torch.cat([self.conv_b(both) * hidden, x], 1))
        hidden = torch.lerp(hidden, proposal, update)
        return hidden, (hidden,)


class MemorylessNetwork(ProgressiveNetwork):
    """Nothing but the picture passes from stage to stage."""

    def recur(self, x: Tensor, state: None) -> tuple[Tensor, None]:
        """Features (B, 32, H, W), as they are."""
        return x, None


@BACKBONES.register_module()
class PRN(MemorylessNetwork):
    """PRN: PReNet without an LSTM.

    Args:
        recurrent_iter: Stages.
        use_GPU: Accepted for the sake of published settings, without effect.
    """

    PUBLISHED: ClassVar[Mapping[str, Published]] = {"prn": Published({}, 0.095107)}

    def __init__(self, recurrent_iter: int = 6, use_GPU: bool = True) -> None:
        super().__init__(recurrent_iter, use_GPU, REPEATS)


@BACKBONES.register_module()
class PRN_r(MemorylessNetwork):  # noqa: N801 as published
    """PRN with one residual block, run five times in a stage.

    Args:
        recurrent_iter: Stages.
        use_GPU: Accepted for the sake of published settings, without effect.
    """

    PUBLISHED: ClassVar[Mapping[str, Published]] = {"prn_r": Published()}

    def __init__(self, recurrent_iter: int = 6, use_GPU: bool = True) -> None:
        super().__init__(recurrent_iter, use_GPU, 1)
