"""Weights that are a part of a model: a step of a diffusion, or an autoencoder."""

import inspect
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from dtir.core.errors import CheckpointError
from dtir.models.backbones import UNetModelDualcondV2
from dtir.registry import CODECS

from .recognition import places

# What a step of a process is called by in the forward of networks.
LEVELS = {"time", "timesteps"}
# Of what a published file holds as a part, the whole.
WHOLE = {UNetModelDualcondV2: "StableSR"}
AUTOENCODER = ("encoder.conv_in.weight", "decoder.conv_out.weight")
NAMED_IN_A_CONFIG = (
    "an autoencoder, which restores nothing by itself: it belongs to a model, whose config names the file in "
    "model.codec.weights (docs/latent.md)"
)


def require_whole(network: nn.Module, path: str | Path) -> None:
    """Refuses a network of which one call restores nothing.

    Args:
        network: A network of dtir's with the weights of the file.
        path: The file.

    Raises:
        CheckpointError: It is told a time step, or is an autoencoder.
    """
    kind = type(network).__name__
    if kind in CODECS:
        raise CheckpointError(f"'{path}' holds weights of {kind}, {NAMED_IN_A_CONFIG}.")
    if LEVELS & set(inspect.signature(network.forward).parameters):
        name = WHOLE.get(type(network), kind)
        raise CheckpointError(
            f"'{path}' holds weights of {kind}, which is told a time step: by itself it restores nothing, and the file "
            "does not say by which process it does. Make a checkpoint of it and a config whose network it is (of "
            f"configs/diffusion, most of them): python tools/model_converters/from_published.py {name} {path} "
            "restorer.pth --config CONFIG; see docs/latent.md and docs/diffusion.md."
        )


def is_autoencoder(checkpoint: Mapping) -> bool:
    """Whether tensors anywhere in a checkpoint are those of a latent diffusion's autoencoder, by their keys."""
    return any(
        all(any(key.endswith(end) for key in state) for end in AUTOENCODER) for _, state in places(checkpoint, "")
    )
