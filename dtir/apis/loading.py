"""A model loaded for a caller: found, on its device or with the runtime that computes it, and set as is wished."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from dtir.apis.export.exported import ExportedRestorer
from dtir.apis.models.graph_names import chosen_backend
from dtir.apis.restoring.device import resolve_device
from dtir.core.errors import ConfigError


class Loaded(NamedTuple):
    """A restorer that is ready.

    Attributes:
        restorer: In evaluation mode, on `device`.
        device: Where it runs.
        path: Its file; None of a module.
        backend: The runtime that computes it; None is PyTorch.
    """

    restorer: nn.Module
    device: torch.device
    path: Path | None
    backend: str | None


def load(model: str | Path | nn.Module | None, device: str | torch.device | None, backend: str | None) -> Loaded:
    """Loads a model.

    Args:
        model: As `checkpoint` of `RestorationInferencer`.
        device: As of `RestorationInferencer`.
        backend: As of `RestorationInferencer`.

    Raises:
        CheckpointError: The model is missing, damaged or another program's.
        ConfigError: The device or the backend cannot be used.
    """
    if isinstance(model, nn.Module):
        place = resolve_device(device)
        return Loaded(model.to(place).eval(), place, None, None)
    from dtir.apis.models.names import find_model

    path = find_model(model)
    backend = chosen_backend(path, backend)
    if backend is not None:
        place = _cpu_alone(device, backend)
        return Loaded(ExportedRestorer(path, backend).to(place).eval(), place, path, backend)
    # It brings all registered parts with it, which other models do without.
    from dtir.apis.models.build import load_restorer

    place = resolve_device(device)
    return Loaded(load_restorer(path, place).to(place).eval(), place, path, None)


def set_encoder(restorer: nn.Module, encoder: str | Path | None) -> None:
    """Sets what reads the words for a network that listens to them.

    Raises:
        CheckpointError: The encoder cannot be read.
        ConfigError: The network has no use for one, or needs one.
        LibraryError: A library that it needs is not installed.
    """
    if encoder is None:
        # Of networks that do nothing without one.
        getattr(restorer, "check_encoder", lambda: None)()
        return
    if not hasattr(restorer, "set_encoder"):
        raise ConfigError(
            f"encoder='{encoder}': this model has no use for one, its prompts are read without; leave it out."
        )
    restorer.set_encoder(encoder)


def set_sampling(restorer: nn.Module, num_steps: int | None, seed: int | None) -> None:
    """Sets how a network that samples does it; None leaves a number as it is.

    Raises:
        ConfigError: The network does not sample.
    """
    if num_steps is None and seed is None:
        return
    if not hasattr(restorer, "set_sampling"):
        raise ConfigError("this checkpoint restores in one step and draws no noise: leave out the steps and the seed.")
    restorer.set_sampling(num_steps, seed)


def _cpu_alone(device: str | torch.device | None, backend: str) -> torch.device:
    if device is not None and torch.device(device).type != "cpu":
        raise ConfigError(f"{backend} runs exported models on the CPU here, not on '{device}'; leave out the device.")
    return torch.device("cpu")
