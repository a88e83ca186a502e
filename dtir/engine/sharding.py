"""Fully sharded training (FSDP): each process holds a part of the weights, gradients and optimiser state.

PyTorch's `fully_shard` keeps parameters as `DTensor`s and gathers those of one block at a time for its pass. What
leaves the training, such as a checkpoint, is whole; what comes back is cut again.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from copy import deepcopy

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from dtir.core.errors import ConfigError
from dtir.core.stage_hook import StageHook
from dtir.models.probing import named_blocks

HELP = "or train with train_cfg.parallel='DDP'"


class ShardedModel:
    """Shards a model's parameters over all processes, block by block.

    Attributes:
        model: The model that was given, sharded: it trains, by calls of the model itself.
        copy: A model like it with whole parameters, for passes in which processes do not walk together: validation,
            matching. It has the weights of the last call of `filled_copy`.

    Args:
        model: A restorer on its device, with the same weights in all processes.

    Raises:
        ConfigError: The backbone does not declare its blocks.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self.copy = model, deepcopy(model).requires_grad_(False).cpu()
        device = next(model.parameters()).device.type
        mesh = init_device_mesh(device, (dist.get_world_size(),))
        for block in named_blocks(model.backbone).values():
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)

    def filled_copy(self) -> nn.Module:
        """The copy with the model's weights of now, on its device; all processes have to call this together."""
        device = next(self.model.parameters()).device
        self.copy.to(device).load_state_dict({key: whole(value) for key, value in self.model.state_dict().items()})
        return self.copy

    def put_away(self) -> None:
        """Frees the device of the copy."""
        self.copy.cpu()


class WholeValidationHook(StageHook):
    """Validates a sharded model as a whole copy: processes have pictures of their own, and walk through them alone."""

    # After the moving average has taken the weights' place, and before a checkpoint is written.
    priority = "LOW"

    def before_val_epoch(self, runner) -> None:
        """Has the copy stand for the model."""
        self._validating = ExitStack()
        self._validating.enter_context(runner.whole_model())

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Gives the model back its place."""
        self._validating.close()


def whole(value: object) -> object:
    """Nested dicts, lists and tuples with all sharded tensors made whole, on the CPU; all processes have to call this
    together, with the same structure."""
    if isinstance(value, DTensor):
        return value.detach().full_tensor().cpu()
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(whole(item) for item in value)
    return value


def like(value: object, target: object) -> object:
    """A whole tensor cut like a sharded one of its shape; everything else as it is."""
    sharded = isinstance(target, DTensor) and isinstance(value, Tensor) and not isinstance(value, DTensor)
    if not sharded or value.shape != target.shape:
        return value
    return distribute_tensor(value.to(target.device), target.device_mesh, target.placements)


def state_like(state: Mapping[str, object], targets: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """A state dict with whole tensors cut like those of another one.

    Args:
        state: The state.
        targets: Tensors by key, without the prefix.
        prefix: What keys of the state begin with.
    """
    return {key: like(value, targets.get(key.removeprefix(prefix))) for key, value in state.items()}


def optimizer_state_like(state: dict, params: list[Tensor]) -> dict:
    """An optimiser's state dict with whole tensors cut like the parameters that they belong to, in their order."""
    kept = {
        index: {name: like(value, params[index]) for name, value in of_one.items()}
        for index, of_one in state["state"].items()
    }
    return {**state, "state": kept}


def without_shards(model: nn.Module) -> nn.Module:
    """A tree of modules with clones of a sharded model's parameters and buffers under the same names, which can be
    copied; it cannot be called."""
    return _clone(model, {})


def _clone(module: nn.Module, known: dict[nn.Module, nn.Module]) -> nn.Module:
    if module not in known:
        clone = known[module] = nn.Module()
        for name, p in module.named_parameters(recurse=False):
            clone.register_parameter(name, nn.Parameter(p.detach().clone(), requires_grad=False))
        persistent = module.state_dict().keys()
        for name, value in module.named_buffers(recurse=False):
            clone.register_buffer(name, value.clone(), persistent=name in persistent)
        # With those that a module holds twice.
        for name, child in module._modules.items():
            clone.add_module(name, None if child is None else _clone(child, known))
    return known[module]


def refuse_what_needs_the_whole(runner, regularizers: list[dict]) -> None:
    """Says before any work what a sharded training cannot do.

    Raises:
        ConfigError: The config has a regularizer, or `compile`.
    """
    if regularizers:
        raise ConfigError(
            f"train_cfg.regularizers: {regularizers[0].get('type')} needs whole weights and gradients, of which each "
            f"process has a part under train_cfg.parallel='FSDP'; leave it out, {HELP}."
        )
    if runner.cfg.get("compile", None):
        raise ConfigError(f"compile does not go with train_cfg.parallel='FSDP'; leave it out, {HELP}.")


def refuse_optimizer(wrapper) -> None:
    """The same of an optimiser wrapper.

    Raises:
        ConfigError: Its optimiser is not PyTorch's own, or it has a loss scale.
    """
    kind = type(wrapper.optimizer)
    if not kind.__module__.startswith("torch.optim"):
        raise ConfigError(
            f"optim_wrapper.optimizer: {kind.__name__} needs whole parameters, of which each process has a part under "
            f"train_cfg.parallel='FSDP'; take one of torch.optim such as AdamW, {HELP}."
        )
    if wrapper.amp == "fp16":
        raise ConfigError(f"--amp fp16 does not go with train_cfg.parallel='FSDP'; take bf16, {HELP}.")
