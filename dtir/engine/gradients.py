"""From losses to reduced gradients: the sum with an overlapped all-reduce or in shards, or each loss on its own.

All give the same `p.grad`: the mean over processes of the gradient of the summed losses.
"""

import inspect
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

# Buffers are the same in all processes; the option's name changed with PyTorch 2.14.
_OPTIONS = inspect.signature(DistributedDataParallel.__init__).parameters
LEAVE_BUFFERS = {"forward_sync_buffers" if "forward_sync_buffers" in _OPTIONS else "broadcast_buffers": False}


class SummedGradients:
    """One backward pass of the summed losses; several processes reduce through DDP's reducer, overlapped with it.

    DDP ignores parameters that were unfrozen after wrapping, so this object is built anew at every stage.

    Args:
        model: The restorer.
        params: Its trainable parameters.
        find_unused_parameters: For networks of which a part does not take part in every loss.
    """

    def __init__(self, model: nn.Module, params: Sequence[nn.Parameter], find_unused_parameters: bool = False) -> None:
        self.module: nn.Module = model
        if _world_size() > 1:
            device = params[0].device
            self.module = DistributedDataParallel(
                model,
                device_ids=[device.index] if device.type == "cuda" else None,
                gradient_as_bucket_view=True,
                find_unused_parameters=find_unused_parameters,
                **LEAVE_BUFFERS,
            )

    def micro_batch(self, last: bool) -> AbstractContextManager:
        """Context of one micro-batch's forward and backward; only the last of a step is reduced."""
        if last or not isinstance(self.module, DistributedDataParallel):
            return nullcontext()
        return self.module.no_sync()

    def backward(self, losses: Mapping[str, Tensor]) -> None:
        """Adds the gradient of the summed losses to `p.grad`."""
        sum(losses.values()).backward()

    def reduce(self) -> None:
        """Nothing is left to do: the backward pass reduced."""

    def clear(self) -> None:
        """Nothing is left to do: the optimiser wrapper drops `p.grad`."""


class ShardedGradients:
    """One backward pass of the summed losses of a model that FSDP shards: `p.grad` is this process's part of the mean.

    Args:
        model: The restorer, sharded by `ShardedModel`.
    """

    def __init__(self, model: FSDPModule) -> None:
        self.module = model

    def micro_batch(self, last: bool) -> AbstractContextManager:
        """Has only the last micro-batch of a step reduced."""
        self.module.set_requires_gradient_sync(last)
        return nullcontext()

    def backward(self, losses: Mapping[str, Tensor]) -> None:
        """Adds the gradient of the summed losses to `p.grad`."""
        sum(losses.values()).backward()

    def reduce(self) -> None:
        """Nothing is left to do: the backward pass reduced."""

    def clear(self) -> None:
        """Nothing is left to do: the optimiser wrapper drops `p.grad`."""


class LossGradients:
    """The gradient of every loss on its own, reduced by one all-reduce of the whole stack.

    `torch.autograd.grad` is not reduced by DDP and two backward passes through its reducer differ between ranks, so
    DDP is not used here.

    Args:
        model: The restorer.
        params: Its trainable parameters.
    """

    def __init__(self, model: nn.Module, params: Sequence[nn.Parameter]) -> None:
        self.module = model
        self.params = list(params)
        self._flat: dict[str, Tensor] = {}
        self.loss_gradients: dict[str, list[Tensor]] = {}

    def micro_batch(self, last: bool) -> AbstractContextManager:
        """No context is needed: nothing is reduced before `reduce`."""
        return nullcontext()

    def backward(self, losses: Mapping[str, Tensor]) -> None:
        """Adds every loss's gradient to its own store; a loss without a graph adds nothing."""
        names = [name for name, loss in losses.items() if loss.requires_grad]
        for name in losses:
            if name not in self._flat:
                self._allocate(name)
        for name in names:
            gradients = torch.autograd.grad(
                losses[name], self.params, retain_graph=name != names[-1], allow_unused=True
            )
            pairs = [(a, g) for a, g in zip(self.loss_gradients[name], gradients, strict=True) if g is not None]
            torch._foreach_add_([a for a, _ in pairs], [g for _, g in pairs])

    def _allocate(self, name: str) -> None:
        sizes = [p.numel() for p in self.params]
        flat = torch.zeros(sum(sizes), device=self.params[0].device, dtype=self.params[0].dtype)
        self._flat[name] = flat
        self.loss_gradients[name] = [part.view_as(p) for part, p in zip(flat.split(sizes), self.params, strict=True)]

    def reduce(self) -> None:
        """Averages the stack over the processes and writes the total to `p.grad`."""
        if _world_size() > 1:
            stack = torch.stack(list(self._flat.values()))
            dist.all_reduce(stack)
            for flat, row in zip(self._flat.values(), stack, strict=True):
                flat.copy_(row).div_(_world_size())
        self.write_total()

    def write_total(self) -> None:
        """Writes the sum of the losses' gradients to `p.grad`."""
        first, *others = self.loss_gradients.values()
        total = [gradient.clone() for gradient in first]
        for gradients in others:
            torch._foreach_add_(total, gradients)
        for param, gradient in zip(self.params, total, strict=True):
            param.grad = gradient

    def unscale(self, loss_scale: float) -> None:
        """Divides every loss's gradient by the loss scale."""
        torch._foreach_div_(list(self._flat.values()), loss_scale)

    def clear(self) -> None:
        """Zeroes the stores for the next step."""
        torch._foreach_zero_(list(self._flat.values()))


def _world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
