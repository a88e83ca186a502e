"""Scales, shifts and adapters that are attached to a backbone's blocks from outside, by hooks."""

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from dtir.core.errors import ConfigError
from dtir.registry import ADAPTERS, BACKBONES

from .adapters import ParallelAdapter
from .backbones.parts.layers import scale_channels
from .backbones.parts.pictures import restored_picture
from .probing import block_calls, channels_of, named_blocks, pointwise_channels, pointwise_layers, try_backbone


class Modulation(NamedTuple):
    """What one block gets in one forward pass.

    Attributes:
        gain, shift: (B, C) or (1, C).
        prompt: The time prompt (B, D).
        adapter: The block's adapter.
        extend: Changes the block's output last.
    """

    gain: Tensor
    shift: Tensor
    prompt: Tensor
    adapter: nn.Module | None
    extend: Callable[[Tensor], Tensor] | None = None


class RunningPass:
    """The modulations of the forward pass that is running, None outside of one: blocks are then left alone.

    Copies start empty, since what a pass holds has a graph.
    """

    def __init__(self) -> None:
        self.modulations: list[Modulation] | None = None

    def __reduce__(self) -> tuple:
        return RunningPass, ()

    @contextmanager
    def holding(self, modulations: list[Modulation]) -> Iterator[None]:
        """Gives the modulations to the blocks for the time of a `with` statement."""
        self.modulations = modulations
        try:
            yield
        finally:
            self.modulations = None


class BlockHooks:
    """Hooks of one block. They know the running pass and no module, so that a copied network has its own.

    A backbone that checkpoints its blocks runs them again in the backward pass, perhaps after further forward passes
    with other time steps. The second run gets the same tensor as the first one did: what was used for it is
    remembered for as long as it lives.
    """

    def __init__(self, running: RunningPass, index: int) -> None:
        self.running, self.index = running, index
        self.used: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.inside = False
        self.current: Modulation | None = None

    def __reduce__(self) -> tuple:
        return BlockHooks, (self.running, self.index)

    def enter(self, block: nn.Module, args: tuple) -> tuple | None:
        """Forward pre-hook of the block: its arguments, the first one scaled and shifted."""
        x, *rest = args
        self.inside, self.current = True, self._modulation_for(x)
        if self.current is None:
            return None
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            self.used[x] = self.current
        return (_scale_and_shift(x, self.current), *rest)

    def adapt(self, block: nn.Module, args: tuple, output: Tensor) -> Tensor | None:
        """Forward hook of the block: its output, adapted."""
        return None if self.current is None else self.current.adapter(output, self.current.prompt)

    def add(self, layer: nn.Module, args: tuple, output: Tensor) -> Tensor | None:
        """Forward hook of the block's last pointwise layer: its output and what the adapter makes of its input.

        Raises:
            RuntimeError: The layer runs outside of its block.
        """
        if not self.inside:
            raise RuntimeError(
                f"a {type(layer).__name__} of block {self.index} ran outside of its block, as where activations are "
                "checkpointed within a block. Checkpoint whole blocks, or use an adapter that comes after the blocks, "
                "such as MoEAdapter."
            )
        return None if self.current is None else self.current.adapter.added(output, args[0], self.current.prompt)

    def leave(self, block: nn.Module, args: tuple, output: object) -> object | None:
        """Forward hook of the block, the last of its hooks."""
        extend = None if self.current is None else self.current.extend
        self.inside, self.current = False, None
        return None if extend is None else extend(output)

    def _modulation_for(self, x: Tensor) -> Modulation | None:
        if self.running.modulations is not None:
            return self.running.modulations[self.index]
        return self.used.get(x)


def _scale_and_shift(x: Tensor, modulation: Modulation) -> Tensor:
    alike = x.ndim == 4 and x.element_size() == 2 and len(modulation.gain) == 1
    if alike and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return scale_channels(x, modulation.gain[0], modulation.shift[0])
    places = (..., None, None) if x.ndim == 4 else (slice(None), None)
    # Gain and shift stay in float32 under autocast: rounding them would be an error shared by all pixels.
    return torch.addcmul(modulation.shift[places], x, modulation.gain[places]).to(x.dtype)


class ModulatedNetwork(nn.Module):
    """A backbone with hooks for a scale, a shift and an adapter at each block that it declares.

    Args:
        backbone: A network from (B, 3, H, W) to the same shape, or its config.
        adapter: Config of the adapters, or None.
        adapter_blocks: Shell-style patterns of the names of the blocks that have one.

    Attributes:
        widths: Channels of each block's features, shallow to deep.
        adapters: By the index of their block.

    Raises:
        ConfigError: The backbone does not declare its blocks, or a declared block does not exist, is never called, is
            called with something else than features, or has no place for the adapter; or it does not restore a picture
            of any size (`try_backbone`).
    """

    def __init__(self, backbone: nn.Module | dict, adapter: dict | None, adapter_blocks: Sequence[str]) -> None:
        super().__init__()
        self.backbone = backbone if isinstance(backbone, nn.Module) else BACKBONES.build(backbone)
        blocks = named_blocks(self.backbone)
        try_backbone(self.backbone)
        calls = block_calls(self.backbone, blocks)
        self.widths = [channels_of(entry, name) for name, (entry, _) in calls.items()]
        self.adapters = nn.ModuleDict()
        self._running = RunningPass()
        hooks = {name: BlockHooks(self._running, index) for index, name in enumerate(blocks)}
        for name, block in blocks.items():
            block.register_forward_pre_hook(hooks[name].enter)
        if adapter:
            self._attach(adapter, _matching(blocks, adapter_blocks), hooks)
        for name, block in blocks.items():
            block.register_forward_hook(hooks[name].leave)

    def _attach(self, adapter: dict, blocks: dict[str, nn.Module], hooks: dict[str, BlockHooks]) -> None:
        kind = ADAPTERS.get(adapter["type"]) if isinstance(adapter["type"], str) else adapter["type"]
        attach = self._attach_beside if issubclass(kind, ParallelAdapter) else self._attach_after
        attach(adapter, blocks, hooks)

    def _attach_after(self, adapter: dict, blocks: dict[str, nn.Module], hooks: dict[str, BlockHooks]) -> None:
        outputs = {name: output for name, (_, output) in block_calls(self.backbone, blocks).items()}
        for name, block in blocks.items():
            built = ADAPTERS.build({**adapter, "channels": channels_of(outputs[name], name)})
            self.adapters[str(hooks[name].index)] = built
            block.register_forward_hook(hooks[name].adapt)

    def _attach_beside(self, adapter: dict, blocks: dict[str, nn.Module], hooks: dict[str, BlockHooks]) -> None:
        for name, layer in pointwise_layers(self.backbone, blocks).items():
            in_channels, out_channels = pointwise_channels(layer)
            built = ADAPTERS.build({**adapter, "in_channels": in_channels, "out_channels": out_channels})
            self.adapters[str(hooks[name].index)] = built
            layer.register_forward_hook(hooks[name].add)

    def as_now(self) -> Callable[[], AbstractContextManager]:
        """Makes contexts in which the blocks are modulated as they are at this moment, for running them once more."""
        return partial(self._running.holding, self._running.modulations)

    def modulated(
        self,
        x: Tensor,
        gains: Sequence[Tensor],
        shifts: Sequence[Tensor],
        prompt: Tensor,
        extensions: Sequence[Callable[[Tensor], Tensor]] | None = None,
    ) -> Tensor:
        """What the backbone makes of pictures, modulated.

        Args:
            x: Pictures (B, 3, H, W).
            gains: One per block, (B, C) or (1, C).
            shifts: The same.
            prompt: Time prompt of the adapters, (B, D).
            extensions: One per block: what changes its output last; None for nothing.

        Returns:
            (B, 3, H, W).
        """
        adapters, extensions = dict(self.adapters), extensions or [None] * len(gains)
        modulations = [
            Modulation(gain, shift, prompt, adapters.get(str(k)), extend)
            for k, (gain, shift, extend) in enumerate(zip(gains, shifts, extensions, strict=True))
        ]
        with self._running.holding(modulations):
            return restored_picture(self.backbone, x)


def _matching(blocks: dict[str, nn.Module], patterns: Sequence[str]) -> dict[str, nn.Module]:
    chosen = {name: b for name, b in blocks.items() if any(fnmatch.fnmatchcase(name, p) for p in patterns)}
    if not chosen:
        raise ConfigError(
            f"adapter_blocks={list(patterns)} matches no block; the blocks are {', '.join(list(blocks)[:8])}."
        )
    return chosen
