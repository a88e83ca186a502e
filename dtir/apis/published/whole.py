"""Weights that are a part of a model: a step of a diffusion, or an autoencoder."""

import inspect
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path

from torch import nn

from dtir.core.errors import CheckpointError
from dtir.models.backbones import UNetModelDualcondV2
from dtir.registry import CODECS

from .recognition import places

# What a step of a process is called by in the forward of networks.
LEVELS = {"time", "timesteps"}
# Networks that are published as a part of another, and that one.
WHOLE = {UNetModelDualcondV2: "StableSR"}
# Keys of an autoencoder of latent diffusion, and parts of which most of its keys have one.
AUTOENCODER = ("encoder.conv_in.weight", "decoder.conv_out.weight")
ITS_PARTS = {"encoder", "decoder", "quant_conv", "post_quant_conv", "quantize", "loss"}
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
        part = "" if name == kind else f" (a part of {name}: the file has to hold all of it)"
        raise CheckpointError(
            f"'{path}' holds weights of {kind} or of a network with the same keys, which is told a time step: by "
            "itself it restores nothing, and the file does not say by which process it does. Make a checkpoint of it "
            "and a config whose network it is, such as those of configs/diffusion: python "
            f"tools/model_converters/from_published.py {name} {shlex.quote(str(path))} restorer.pth --config CONFIG"
            f"{part}; see docs/latent.md and docs/diffusion.md."
        )


def is_autoencoder(checkpoint: Mapping) -> bool:
    """Whether tensors anywhere in a checkpoint are those of a latent diffusion's autoencoder, by their keys."""
    return any(_are_of_an_autoencoder(state) for _, state in places(checkpoint, ""))


def _are_of_an_autoencoder(keys: Collection[str]) -> bool:
    own = sum(not ITS_PARTS.isdisjoint(key.split(".")) for key in keys)
    return 2 * own > len(keys) and all(any(key.endswith(end) for key in keys) for end in AUTOENCODER)
