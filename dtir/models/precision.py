"""Automatic mixed precision on devices that have it, and on those that have none, such as "meta"."""

from contextlib import AbstractContextManager, nullcontext

import torch


@torch.compiler.assume_constant_result
def _has_autocast(device_type: str) -> bool:
    # A network that is being compiled cannot ask by itself in every release of torch.
    return torch.amp.is_autocast_available(device_type)


def without_autocast(device: torch.device) -> AbstractContextManager:
    """A context in which tensors on the device keep their types."""
    if not _has_autocast(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def autocast_dtype(device: torch.device, default: torch.dtype) -> torch.dtype:
    """The type that automatic mixed precision would give a matrix product, `default` where it is off."""
    if not _has_autocast(device.type) or not torch.is_autocast_enabled(device.type):
        return default
    return torch.get_autocast_dtype(device.type)
