"""One task's network for deployment: its experts in plain layers (docs/method.md, section 5).

The router and the time conditioning read the time step alone. At a task's matched step the chosen experts, their
shares, and every block's gain and shift are constants.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.models.conditioning import ConditionedNetwork
from dtir.models.modulation import ModulatedNetwork
from dtir.models.probing import named_blocks, pointwise_layers
from dtir.registry import ADAPTERS, CONDITIONING

from .adapters.base import Adapter, ParallelAdapter
from .adapters.moe import MixtureOfExperts, MoEAdapter, ParallelMoEAdapter, apply_bottleneck


class Bottleneck(nn.Module):
    """`up(act(down(x)))` at every pixel: the experts of one task, side by side.

    Args:
        in_channels: Channels of x.
        out_channels: Channels of the result.
        rank: Channels in between.
        activation: As of `MixtureOfExperts`.
    """

    def __init__(self, in_channels: int, out_channels: int, rank: int, activation: str | None = None) -> None:
        super().__init__()
        self.activation = activation
        self.down = nn.Parameter(torch.zeros(rank, in_channels))
        self.up = nn.Parameter(torch.zeros(rank, out_channels))

    def forward(self, x: Tensor, base: Tensor | None = None) -> Tensor:
        """(B, C, H, W) or (B, N, C) to the same with the other number of channels, added to `base`."""
        down, up = (weight.expand(x.shape[0], -1, -1) for weight in (self.down, self.up))
        return apply_bottleneck(x, down, up, self.activation, base)


@ADAPTERS.register_module()
class FoldedAdapter(Adapter):
    """What `MoEAdapter` is for one task."""

    def __init__(self, channels: int, prompt_dim: int, rank: int, activation: str | None = None) -> None:
        super().__init__(channels, prompt_dim)
        self.experts = Bottleneck(channels, channels, rank, activation)

    @override
    def forward(self, x: Tensor, prompt: Tensor) -> Tensor:
        """The prompt is not read."""
        return self.experts(x, base=x)


@ADAPTERS.register_module()
class FoldedParallelAdapter(ParallelAdapter):
    """What `ParallelMoEAdapter` is for one task, where its experts are not linear."""

    def __init__(
        self, in_channels: int, out_channels: int, prompt_dim: int, rank: int, activation: str | None = None
    ) -> None:
        super().__init__(in_channels, out_channels, prompt_dim)
        self.experts = Bottleneck(in_channels, out_channels, rank, activation)

    @override
    def forward(self, x: Tensor, prompt: Tensor) -> Tensor:
        """The prompt is not read."""
        return self.experts(x)

    @override
    def added(self, output: Tensor, x: Tensor, prompt: Tensor) -> Tensor:
        """The prompt is not read."""
        return self.experts(x, base=output)


@CONDITIONING.register_module()
class FixedStep(ModulatedNetwork):
    """F(x, t) at one time step: a backbone with a constant gain and shift at the entry of each block.

    Args:
        backbone: A network from (B, 3, H, W) to the same shape, or its config.
        t: The time step.
        adapter: Config of the folded adapters, or None where they are part of the backbone.
        adapter_blocks: Shell-style patterns of the names of the blocks that have one.

    Raises:
        ConfigError: As `ModulatedNetwork`.
    """

    def __init__(
        self, backbone: nn.Module | dict, t: int, adapter: dict | None = None, adapter_blocks: Sequence[str] = ("*",)
    ) -> None:
        super().__init__(backbone, adapter and {**adapter, "prompt_dim": 0}, adapter_blocks)
        self.t, self.adapter, self.adapter_blocks = t, adapter, adapter_blocks
        self.gain = nn.Parameter(torch.ones(sum(self.widths)))
        self.shift = nn.Parameter(torch.zeros(sum(self.widths)))

    def settings(self) -> dict:
        """The arguments beside the backbone, for a config."""
        return {"t": self.t, "adapter": self.adapter, "adapter_blocks": self.adapter_blocks}

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        """F(x, t): pictures (B, 3, H, W) in [0, 1] to the same shape.

        Args:
            x: The pictures.
            t: Their time steps (B,), or None; there is only the one that the network was folded for.

        Raises:
            ValueError: Another time step is asked for.
        """
        if t is not None and not torch.compiler.is_compiling() and (t != self.t).any():
            raise ValueError(
                f"this network was folded for t = {self.t} alone, and t = {t.flatten().tolist()} was asked for. Use "
                "the checkpoint that it was folded from, or fold that one for the other step."
            )
        gains, shifts = (values[None].split(self.widths, dim=1) for values in (self.gain, self.shift))
        return self.modulated(x, gains, shifts, self.gain.new_zeros(1, 0))


@torch.no_grad()
def fold(network: ConditionedNetwork, t: int) -> FixedStep:
    """A network that computes F(x, t) at one time step without routers, prompts and time embedding.

    Linear experts beside a pointwise layer become part of its weight. Others become bottlenecks of k times the rank.

    Args:
        network: The trained network; it is left as it is.
        t: The time step, 0..T.

    Returns:
        The folded network in eval mode, on the device of the other one.

    Raises:
        ConfigError: `t` is out of range, or the adapters are of a kind that cannot be folded.
    """
    if not 0 <= t <= network.num_timesteps:
        raise ConfigError(f"t={t} is not a time step of this network; expected 0..{network.num_timesteps}.")
    if t in network.extended_steps:
        raise ConfigError(f"t={t} is that of a task that was learned later (dtir adapt), whose parts cannot be folded.")
    network = copy.deepcopy(network).eval()
    gains, shifts, prompt = network.modulation(torch.tensor([t], device=network.to_modulation.weight.device))
    config, blocks = _folded_adapter(network), named_blocks(network.backbone)
    chosen = [name for index, name in enumerate(blocks) if str(index) in network.adapters]
    backbone = _bare(network.backbone)
    if config is None and network.adapters:
        _fold_into_layers(network, backbone, chosen, prompt)
    folded = FixedStep(backbone, t, config, chosen or ["*"]).to(prompt.device)
    folded.gain.copy_(torch.cat(list(gains), dim=1)[0])
    folded.shift.copy_(torch.cat(list(shifts), dim=1)[0])
    for key, adapter in folded.adapters.items():
        down, up = network.adapters[key].experts.bottleneck(prompt)
        adapter.experts.down.copy_(down[0])
        adapter.experts.up.copy_(up[0])
    return folded.eval()


def _folded_adapter(network: ConditionedNetwork) -> dict | None:
    """Config of what replaces the adapters; None where nothing is left of them."""
    for adapter in network.adapters.values():
        if not isinstance(adapter, (MoEAdapter, ParallelMoEAdapter)):
            raise ConfigError(f"adapters of kind {type(adapter).__name__} cannot be folded; MoEAdapters can.")
        experts: MixtureOfExperts = adapter.experts
        if isinstance(adapter, ParallelMoEAdapter) and experts.activation is None:
            return None
        kind = "FoldedParallelAdapter" if isinstance(adapter, ParallelMoEAdapter) else "FoldedAdapter"
        return {"type": kind, "rank": experts.top_k * experts.rank, "activation": experts.activation}
    return None


def _bare(backbone: nn.Module) -> nn.Module:
    """A copy of a backbone without hooks."""
    bare = copy.deepcopy(backbone)
    for module in bare.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    return bare


def _fold_into_layers(network: ConditionedNetwork, backbone: nn.Module, names: list[str], prompt: Tensor) -> None:
    blocks = named_blocks(backbone)
    layers = pointwise_layers(backbone, {name: blocks[name] for name in names})
    for adapter, layer in zip(network.adapters.values(), layers.values(), strict=True):
        down, up = (weight[0].double() for weight in adapter.experts.bottleneck(prompt))
        weight = layer.weight.double().flatten(1) + up.mT @ down
        layer.weight.copy_(weight.view_as(layer.weight))
