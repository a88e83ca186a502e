"""The network of another training's checkpoint."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from dtir.core.checkpoint import load_checkpoint, load_state
from dtir.core.errors import CheckpointError
from dtir.registry import BACKBONES

PREFIX = "backbone."


def build_trained(path: str | Path) -> nn.Module:
    """The network of a checkpoint, built as its config says, in eval mode and frozen.

    Raises:
        CheckpointError: The file cannot be read, or is no checkpoint of a training.
    """
    checkpoint = load_checkpoint(path)
    config = checkpoint.get("meta", {}).get("model_cfg") or {}
    if "backbone" not in config or "state_dict" not in checkpoint:
        raise CheckpointError(f"'{path}' is no checkpoint of a training (meta.model_cfg.backbone, state_dict).")
    network = BACKBONES.build(config["backbone"])
    _fill(network, checkpoint["state_dict"], path)
    return network.eval().requires_grad_(False)


def read_network(network: nn.Module, path: str | Path) -> None:
    """Fills a network with the weights of a checkpoint's.

    Raises:
        CheckpointError: The file cannot be read, is no checkpoint of a training, or holds another network.
    """
    checkpoint = load_checkpoint(path)
    if "state_dict" not in checkpoint:
        raise CheckpointError(f"'{path}' is no checkpoint of a training (state_dict).")
    _fill(network, checkpoint["state_dict"], path)


def _fill(network: nn.Module, state: Mapping, path: str | Path) -> None:
    own = {key.removeprefix(PREFIX): value for key, value in state.items() if key.startswith(PREFIX)}
    load_state(network, own, path)
