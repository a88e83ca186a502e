"""Parts of their own for tasks that a trained network learns later: at all other steps it stays what it was."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.core.errors import ConfigError
from dtir.models.adapters.moe import tokens
from dtir.models.conditioning import ConditionedNetwork
from dtir.models.probing import block_calls, channels_of, named_blocks
from dtir.registry import CONDITIONING


class TaskBottleneck(nn.Module):
    """Adds to features what a narrow layer makes of them, nothing at first.

    Args:
        channels: C.
        rank: Channels inside.
    """

    def __init__(self, channels: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(channels, rank)
        self.up = nn.Linear(rank, channels)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) or tokens (B, N, C) to the same shape."""
        change = self.up(F.gelu(self.down(tokens(x))))
        return x + (change.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2) if x.ndim == 4 else change)


class PixelCurve(nn.Module):
    """Adds to a restored picture what a narrow layer makes of each of its pixels and the input's, nothing at first.

    Args:
        rank: Channels inside.
    """

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(6, rank)
        self.up = nn.Linear(rank, 3)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor, restored: Tensor) -> Tensor:
        """Input and restored pictures (B, 3, H, W) to the latter, changed."""
        change = self.up(F.gelu(self.down(torch.cat([x, restored], 1).permute(0, 2, 3, 1))))
        return restored + change.permute(0, 3, 1, 2)


@CONDITIONING.register_module(name="ExtendedConditioning")
class ExtendedNetwork(ConditionedNetwork):
    """A `ConditionedNetwork` that learned tasks later, each with a step and, after each block, a `TaskBottleneck`.

    At the step of such a task the network runs at another step, from which learning started, with that task's
    bottlenecks and, on its output, `PixelCurve`; at every other step it computes exactly what it did before. The keys
    of its state dict stay; those of the bottlenecks are `extensions.<number>.<block>.*`.

    Args:
        extensions: One per task: `step` of its own, the step `start`, `rank` of its bottlenecks, and `curve`, whether
            it has a `PixelCurve`; false by default, as of models that were made before there was one.
        options: As of `ConditionedNetwork`.

    Raises:
        ConfigError: As `ConditionedNetwork`, or two extensions have one step.
    """

    def __init__(self, backbone: nn.Module | dict, extensions: Sequence[dict], **options) -> None:
        super().__init__(backbone, **options)
        steps = [extension["step"] for extension in extensions]
        if len(set(steps)) < len(steps):
            raise ConfigError(f"model.network.extensions: the steps {steps} must differ.")
        self.extended_steps, self.starts = steps, [extension["start"] for extension in extensions]
        blocks = named_blocks(self.backbone)
        widths = [channels_of(output, name) for name, (_, output) in block_calls(self.backbone, blocks).items()]
        self.extensions = nn.ModuleList(
            nn.ModuleList(TaskBottleneck(width, extension["rank"]) for width in widths) for extension in extensions
        )
        self.curves = nn.ModuleDict(
            {str(k): PixelCurve(extension["rank"]) for k, extension in enumerate(extensions) if extension.get("curve")}
        )

    def own_parameters(self, number: int) -> list[nn.Parameter]:
        """The parameters of one task alone, by its place among `extensions`."""
        curve = self.curves[str(number)].parameters() if str(number) in self.curves else ()
        return [*self.extensions[number].parameters(), *curve]

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """F(x, t), as `ConditionedNetwork.forward`."""
        chosen = [t == step for step in self.extended_steps]
        start = t
        for mask, step in zip(chosen, self.starts, strict=True):
            start = torch.where(mask, step, start)
        used = _numbers_in_use(chosen)
        extensions = [partial(self._extend, chosen, used, k) for k in range(len(self.widths))] if used else None
        restored = self.modulated(x, *self.modulation(start), extensions=extensions)
        for number in used:
            if str(number) in self.curves:
                own = chosen[number].view(-1, 1, 1, 1)
                restored = torch.where(own, self.curves[str(number)](x, restored), restored)
        return restored

    def _extend(self, chosen: Sequence[Tensor], used: Sequence[int], block: int, output: Tensor) -> Tensor:
        for number in used:
            own = chosen[number].view(-1, *[1] * (output.ndim - 1))
            # Chosen and not multiplied by 0: what other samples keep is bit for bit what it was.
            output = torch.where(own, self.extensions[number][block](output), output)
        return output


def _numbers_in_use(chosen: Sequence[Tensor]) -> list[int]:
    """Of the extensions, which masks (B,) choose samples for, those that are to be computed.

    All of them where gradients are wanted, as a parameter's gradient must not be missing in some steps and processes;
    where the graph is to serve other time steps too; and where tensors have no values, as when operations are counted.
    """
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if not chosen or torch.is_grad_enabled() or traced or chosen[0].is_meta or type(chosen[0]) is not Tensor:
        return list(range(len(chosen)))
    return [number for number, is_used in enumerate(torch.stack(chosen).any(dim=1).tolist()) if is_used]
