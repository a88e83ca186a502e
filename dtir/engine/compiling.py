"""Compiling the network that is trained: the config key `compile`."""

from types import MethodType

import torch
from torch import nn

from dtir.models.probing import named_blocks


def compile_network(restorer: nn.Module, shapes: int, blocks: bool = False, **settings) -> None:
    """Has the network of a restorer compiled, when it first runs, for every shape of its input by itself.

    The modules stay the same objects with the same state-dict keys.

    Args:
        restorer: The restorer.
        shapes: Shapes of batches that the training may have.
        blocks: Whether the blocks that the backbone declares are compiled one by one, and all else runs as it is.
            Blocks of one class and shape then share their code, so that no more is compiled of a deep network
            than of a shallow one; what is between blocks is not made faster.
        **settings: Of `torch.compile`.

    Raises:
        ConfigError: `blocks` of a backbone that does not declare any.
    """
    settings = {"dynamic": False, **settings}
    if not blocks:
        getattr(restorer, "network", restorer.backbone).compile(**settings)
        return
    found = named_blocks(restorer.backbone).values()
    kinds = {type(block) for block in found}
    compiled = {kind: torch.compile(kind.forward, **settings) for kind in kinds}
    for block in found:
        # Not the call, of which the hooks are a part: they are each block's own, and no code could be shared. As a
        # method it belongs to a copy of the block once that is copied.
        block.forward = MethodType(compiled[type(block)], block)
    # All blocks of a class count as one function here; with gradients and without them.
    most = 2 * shapes * len(found)
    limits = torch._dynamo.config
    # By the names that torch 2.6 knows, too; later ones have them as second names.
    limits.cache_size_limit = max(limits.cache_size_limit, most)
    limits.accumulated_cache_size_limit = max(limits.accumulated_cache_size_limit, most)
