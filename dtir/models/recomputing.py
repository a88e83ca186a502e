"""Activation checkpointing: blocks that keep their input alone, and run once more in the backward pass."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from dtir.models.modulation import ModulatedNetwork
from dtir.models.probing import named_blocks


@contextmanager
def recomputed_blocks(model: nn.Module) -> Iterator[None]:
    """For the time of a `with` statement, which has to hold the forward pass only, the blocks that the model's
    backbone declares keep nothing for the backward pass but their input (Chen et al., arXiv 1604.06174).

    Gradients stay what they are, at the cost of one more forward pass through the blocks. Modules, parameters, running
    statistics and keys of the state dict stay the same.

    Args:
        model: A restorer, with its `backbone`.

    Raises:
        ConfigError: The backbone does not declare its blocks.
    """
    networks = [module for module in model.modules() if isinstance(module, ModulatedNetwork)]
    blocks = named_blocks(model.backbone).values()
    norms = [module for block in blocks for module in block.modules() if isinstance(module, _BatchNorm)]
    kinds = {kind: _recomputing(kind, networks, norms) for kind in {type(block) for block in blocks}}
    for block in blocks:
        block.__class__ = kinds[type(block)]
    try:
        yield
    finally:
        for block in blocks:
            block.__class__ = type(block).__base__


def _recomputing(
    kind: type[nn.Module], networks: Sequence[ModulatedNetwork], norms: Sequence[_BatchNorm]
) -> type[nn.Module]:
    class Recomputing(kind):
        def __call__(self, *args, **kwargs):
            # The call and not `forward`, so that hooks on a block and on layers within it find themselves together.
            call, again = super().__call__, _Again(networks, norms)
            return checkpoint(call, *args, use_reentrant=False, context_fn=lambda: (nullcontext(), again), **kwargs)

    return Recomputing


class _Again(AbstractContextManager):
    """A context in which blocks run as they did when this was made: modulated alike, without a trace in running
    statistics. It may be entered any number of times, as a graph may be walked more than once."""

    def __init__(self, networks: Sequence[ModulatedNetwork], norms: Sequence[_BatchNorm]) -> None:
        self._contexts = [network.as_now() for network in networks]
        self._statistics = [buffer for norm in norms for buffer in norm.buffers()]
        self._stack = ExitStack()

    def __enter__(self) -> None:
        for context in self._contexts:
            self._stack.enter_context(context())
        self._before = [buffer.clone() for buffer in self._statistics]

    def __exit__(self, *details) -> None:
        for buffer, value in zip(self._statistics, self._before, strict=True):
            buffer.copy_(value)
        self._stack.close()
