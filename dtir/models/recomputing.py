"""Activation checkpointing: blocks that keep their input alone, and run once more in the backward pass."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from torch import nn
from torch.utils.checkpoint import checkpoint

from dtir.models.modulation import ModulatedNetwork
from dtir.models.probing import named_blocks


@contextmanager
def recomputed_blocks(model: nn.Module) -> Iterator[None]:
    """For the time of a `with` statement, which has to hold the forward pass only, the blocks that the model's
    backbone declares keep nothing for the backward pass but their input (Chen et al., arXiv 1604.06174).

    Gradients stay what they are, bit for bit on one device, at the cost of one more forward pass through the blocks.
    Modules, parameters and keys of the state dict stay the same.

    Args:
        model: A restorer, with its `backbone`.

    Raises:
        ConfigError: The backbone does not declare its blocks.
    """
    networks = [module for module in model.modules() if isinstance(module, ModulatedNetwork)]
    blocks = named_blocks(model.backbone).values()
    kinds = {kind: _recomputing(kind, networks) for kind in {type(block) for block in blocks}}
    for block in blocks:
        block.__class__ = kinds[type(block)]
    try:
        yield
    finally:
        for block in blocks:
            block.__class__ = type(block).__base__


def _recomputing(kind: type[nn.Module], networks: list[ModulatedNetwork]) -> type[nn.Module]:
    class Recomputing(kind):
        def __call__(self, *args, **kwargs):
            # The call and not `forward`, so that hooks on a block and on layers within it find themselves together.
            call, again = super().__call__, _Modulated(networks)
            return checkpoint(call, *args, use_reentrant=False, context_fn=lambda: (nullcontext(), again), **kwargs)

    return Recomputing


class _Modulated(AbstractContextManager):
    """The networks' blocks are modulated as they were when this was made; to be entered any number of times, as a graph
    may be walked more than once."""

    def __init__(self, networks: list[ModulatedNetwork]) -> None:
        self._contexts = [network.as_now() for network in networks]
        self._stack = ExitStack()

    def __enter__(self) -> None:
        for context in self._contexts:
            self._stack.enter_context(context())

    def __exit__(self, *details) -> None:
        self._stack.close()
