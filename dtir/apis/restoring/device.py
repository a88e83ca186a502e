"""The device to compute on."""

import torch

from dtir.core.errors import ConfigError


def resolve_device(device: str | torch.device | None) -> torch.device:
    """The device to compute on; None is CUDA if there is one, else the CPU.

    Raises:
        ConfigError: the name is not a device, or this machine has no such device.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
        if resolved.type == "meta":
            raise RuntimeError("it has shapes and no numbers")
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device '{device}' cannot be used here ({reason}). Use 'cpu', or leave it out.") from error
    return resolved
