"""How deep each parameter of a conditioned network lies, in blocks."""

import torch
from torch import Tensor, nn

from dtir.core.errors import ConfigError
from dtir.models.conditioning import ConditionedNetwork
from dtir.models.probing import probe


def parameter_depths(network: nn.Module) -> dict[str, Tensor]:
    """Index of the block (0 = shallowest) that each parameter belongs to.

    What lies between two blocks, such as a down-sampling, belongs to the block that was called before it; what is
    called before the first one, to that; so does what serves all blocks, such as the time embedding. Of the projection
    to gains and shifts, each row belongs to the block that it is for.

    Args:
        network: A conditioned network.

    Returns:
        By parameter name: a long tensor that broadcasts with the parameter.

    Raises:
        ConfigError: The network is not a `ConditionedNetwork`.
    """
    if not isinstance(network, ConditionedNetwork):
        raise ConfigError(f"{type(network).__name__} has no ordered blocks; a ConditionedNetwork is needed.")
    depths = {name: torch.tensor(0) for name, _ in network.named_parameters()}
    for name, depth in _backbone_depths(network.backbone).items():
        depths[f"backbone.{name}"] = torch.tensor(depth)
    for name in depths:
        if name.startswith("adapters."):
            depths[name] = torch.tensor(int(name.split(".")[1]))
    rows = torch.repeat_interleave(torch.arange(len(network.widths)), torch.tensor(network.widths)).repeat(2)
    depths["to_modulation.weight"], depths["to_modulation.bias"] = rows[:, None], rows
    return depths


def num_blocks(network: ConditionedNetwork) -> int:
    """L, the number of ordered blocks."""
    return len(network.widths)


def _backbone_depths(backbone: nn.Module) -> dict[str, int]:
    blocks = {name: depth for depth, name in enumerate(backbone.ordered_blocks())}
    called = _depth_at_call(backbone, blocks)
    depths = {}
    for name, _ in backbone.named_parameters():
        inside = [depth for block, depth in blocks.items() if name.startswith(f"{block}.")]
        depths[name] = inside[0] if inside else called.get(name.rpartition(".")[0], 0)
    return depths


@torch.no_grad()
def _depth_at_call(backbone: nn.Module, blocks: dict[str, int]) -> dict[str, int]:
    """For each module, the block that had been entered last when it was called first."""
    entered, first = [0], {}

    def enter(name: str):
        def hook(module: nn.Module, args: tuple) -> None:
            entered[0] = blocks.get(name, entered[0])
            first.setdefault(name, entered[0])

        return hook

    handles = [module.register_forward_pre_hook(enter(name)) for name, module in backbone.named_modules()]
    try:
        probe(backbone)
    finally:
        for handle in handles:
            handle.remove()
    return first
