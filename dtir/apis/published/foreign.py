"""Restorers from bare weights: of dtir's own networks, told by their keys, and of others through spandrel."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dtir.core.errors import CheckpointError, ConfigError
from dtir.models.backbones import DACLIPUNet, InstructIR, UNetModel
from dtir.models.backbones.traits import Traits
from dtir.models.building import build_backbone
from dtir.models.probing import check_picture
from dtir.models.restorers import Restorer

from .daclip import daclip_restorer
from .instructed import instructed_restorer
from .prior import PublishedPrior
from .recognition import recognised
from .weights import WeightsRestorer
from .whole import NAMED_IN_A_CONFIG, is_autoencoder, require_whole

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

logger = logging.getLogger(__name__)

RGB = 3
# spandrel knows what sizes a network takes, not its stride: as for a network that declares nothing.
LEAST_MULTIPLE = Traits().size_multiple
SPANDREL_TILES = {"SUPPORTED": "nearly", "DISCOURAGED": "global", "INTERNAL": "global"}
LICENCE = "that of whoever trained the weights; the architecture's code is under a permissive one"


class ForeignNetwork(nn.Module):
    """A network of spandrel's, from pictures (B, 3, H, W) in [0, 1] to the same, `scale` times as large.

    A network of one channel restores the three of a picture apart.

    Args:
        descriptor: What spandrel loaded; it pads to the sizes that its network takes.

    Attributes:
        one_by_one: Whether it takes no batches.

    Raises:
        CheckpointError: The network takes neither one channel nor three.
    """

    def __init__(self, descriptor: "ImageModelDescriptor") -> None:
        super().__init__()
        if (descriptor.input_channels, descriptor.output_channels) not in ((RGB, RGB), (1, 1)):
            raise CheckpointError(
                f"{descriptor.architecture.name} takes {descriptor.input_channels} channels and gives "
                f"{descriptor.output_channels}; only networks of colour or grey pictures can restore here."
            )
        self.model, self.channels = descriptor.model, descriptor.input_channels
        self.call = descriptor
        self.one_by_one = False
        self.traits = Traits(
            size_multiple=math.lcm(descriptor.size_requirements.multiple_of, LEAST_MULTIPLE),
            scale=descriptor.scale,
            tiles=SPANDREL_TILES[descriptor.tiling.name],
            half_precision=descriptor.supports_half and descriptor.supports_bfloat16,
            licence=LICENCE,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to (B, 3, s H, s W)."""
        # Some, such as RCAN, scale what they are given in place.
        x = x.clone()
        if self.channels == RGB:
            return self._called(x)
        return self._called(x.flatten(0, 1)[:, None]).unflatten(0, x.shape[:2])[:, :, 0]

    def _called(self, x: Tensor) -> Tensor:
        return torch.cat([self.call(one) for one in x.split(1)]) if self.one_by_one else self.call(x)


def restorer_of_weights(path: str | Path, checkpoint: Mapping) -> WeightsRestorer | Restorer:
    """The restorer for a checkpoint that holds weights and no description of a model.

    Args:
        path: Path of the checkpoint, for messages.
        checkpoint: What `load_checkpoint` read from it.

    Raises:
        CheckpointError: Neither dtir nor spandrel knows the network, it is a part of a model (see `require_whole`), it
            restores no colour pictures, spandrel is not installed, or a second published file is missing or another's.
        LibraryError: open_clip is not installed, and DA-CLIP's model lies beside its network.
    """
    found = recognised(checkpoint)
    if found is None:
        network = ForeignNetwork(_through_spandrel(path, checkpoint))
        _check_runs(network, path)
        return WeightsRestorer(network)
    config, weights = found
    network = build_backbone(config)
    network.load_state_dict(weights.state, strict=True)
    if isinstance(network, UNetModel):
        logger.info("%s: %s, from %s", path, config["type"], weights.place)
        return PublishedPrior(network, path)
    # Its process is the published one, and its restorer brings it.
    if not isinstance(network, DACLIPUNet):
        require_whole(network, path)
    try:
        check_picture(network)
    except ConfigError as error:
        raise CheckpointError(
            f"'{path}' holds weights of {config['type']}, which restores no picture: {error}"
        ) from error
    logger.info("%s: %s, from %s", path, config["type"], weights.place)
    if isinstance(network, InstructIR):
        return instructed_restorer(network, path)
    return daclip_restorer(network, config, path) if isinstance(network, DACLIPUNet) else WeightsRestorer(network)


def _check_runs(network: ForeignNetwork, path: str | Path) -> None:
    """Runs a network whose settings were told by its weights, which hold not all of them; then on a batch.

    Raises:
        CheckpointError: It cannot restore a picture.
    """
    network.eval().one_by_one = True
    if reason := _stumbles(network, 1):
        raise CheckpointError(
            f"'{path}' holds weights of {network.call.architecture.name}, and spandrel does not find settings with "
            f"which it runs: {reason}"
        )
    network.one_by_one = False
    network.one_by_one = _stumbles(network, 2) is not None


def _stumbles(network: ForeignNetwork, batch: int) -> str | None:
    """Why a network does not run on so many pictures; None where it does."""
    try:
        with torch.inference_mode():
            network(torch.zeros(batch, RGB, LEAST_MULTIPLE, LEAST_MULTIPLE))
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return None


def _through_spandrel(path: str | Path, checkpoint: Mapping) -> "ImageModelDescriptor":
    unknown = (
        f"'{path}' does not describe its model, as a checkpoint of a dtir training does (meta.model_cfg, state_dict)"
    )
    keys = ", ".join(map(str, list(checkpoint)[:5]))
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError
    except ImportError as error:
        raise CheckpointError(
            f"{unknown}, and its keys are those of none of dtir's networks. Networks of others are recognised with "
            f"pip install 'dtir[spandrel]'. Found: {keys}."
        ) from error
    try:
        descriptor = ModelLoader("cpu").load_from_state_dict(dict(checkpoint))
    except (UnsupportedModelError, KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        if is_autoencoder(checkpoint):
            raise CheckpointError(f"'{path}' holds {NAMED_IN_A_CONFIG}.") from error
        raise CheckpointError(
            f"{unknown}, and its keys are those of no network that dtir or spandrel knows. Found: {keys}."
        ) from error
    if not isinstance(descriptor, ImageModelDescriptor):
        raise CheckpointError(
            f"'{path}' holds {descriptor.architecture.name}, which needs a mask beside the picture; it cannot restore "
            "here."
        )
    logger.info("%s: %s of spandrel, scale %d", path, descriptor.architecture.name, descriptor.scale)
    logger.info("%s: licence of the weights: %s", path, LICENCE)
    return descriptor
