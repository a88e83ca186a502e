"""What a network is, as data on its class: `traits`, `PUBLISHED` and `settings_of`; see docs/custom_backbone.md."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dtir.core.errors import ConfigError

# How the result of a network changes where a picture is restored in tiles; see `Traits.tiles`.
TILES = ("exact", "nearly", "global")


class ValueRange(NamedTuple):
    """A picture p in [0, 1] is (p - mean) / std to the network, per channel or for all."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def encode(self, picture: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to the network's values."""
        mean, std = _channelwise(self.mean, picture), _channelwise(self.std, picture)
        return (picture - mean) / std

    def decode(self, values: Tensor) -> Tensor:
        """The network's values (B, 3, H, W) to a picture in [0, 1]."""
        mean, std = _channelwise(self.mean, values), _channelwise(self.std, values)
        return torch.addcmul(mean, values, std)


def _channelwise(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device, dtype=like.dtype).view(1, -1, 1, 1)


UNIT_RANGE = ValueRange((0.0,), (1.0,))
CENTRED_RANGE = ValueRange((0.5,), (0.5,))
IMAGENET_RANGE = ValueRange((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Traits:
    """What those who run a network have to know about it. The defaults are those of a network that declares nothing.

    Attributes:
        input_range: Values that the network expects for a picture in [0, 1].
        output_range: Values that it gives.
        size_multiple: Pixels by which a picture can be shifted so that the output is shifted alike: the product of the
            strides on the way down, times the side of windows. Tiles start at multiples of it.
        pads: Whether the network takes every height and width. If not, pictures are mirrored at their lower and right
            border up to `size_multiple`, and the result is cropped.
        scale: How many times higher and wider the output is than the input.
        tiles: What restoring in tiles changes. "exact": nothing beside an overlap as large as what a pixel sees;
            "nearly": a little; "global": something everywhere, since averages, norms or attention go over all that the
            network is given.
        half_precision: Whether float16 and bfloat16 autocast leave the result what it is, to within their rounding.
        residual: Whether the output is what has to be taken from the picture to restore it.
        pictures: How many of several outputs are restored pictures, the final one first; None for all.
        licence: Licence of the weights that the authors published, "" where none is stated.

    Raises:
        ConfigError: A value is out of its range.
    """

    input_range: ValueRange = UNIT_RANGE
    output_range: ValueRange = UNIT_RANGE
    size_multiple: int = 32
    pads: bool = True
    scale: int = 1
    tiles: str = "global"
    half_precision: bool = True
    residual: bool = False
    pictures: int | None = None
    licence: str = ""

    def __post_init__(self) -> None:
        for name, value in (("size_multiple", self.size_multiple), ("scale", self.scale)):
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"Traits({name}={value!r}): expected a whole number of at least 1.")
        if self.tiles not in TILES:
            raise ConfigError(f"Traits(tiles={self.tiles!r}): expected one of {', '.join(TILES)}.")


@dataclass(frozen=True)
class Published:
    """One setting of a network that its authors published.

    Attributes:
        settings: Constructor arguments.
        params_m: Parameters in millions as published or as counted in the published code, None where none is stated.
        source: Where the figures stand.
        gflops: Multiply-accumulates in units of 1e9 at `size`, as published, None where none is stated.
        size: Height and width for which `gflops` is stated.
        channels: Channels of the input.
    """

    settings: Mapping[str, object] = field(default_factory=dict)
    params_m: float | None = None
    source: str = "published code"
    gflops: float | None = None
    size: int = 256
    channels: int = 3


# Class attributes that were read before there were traits, and the trait that each has become.
_FORMER = {
    "input_range": "input_range",
    "output_range": "output_range",
    "size_multiple": "size_multiple",
    "picture_outputs": "pictures",
}


def traits_of(network: nn.Module) -> Traits:
    """The `traits` of a network, those of the defaults where it declares none.

    Raises:
        ConfigError: `traits` is something else than a `Traits`.
    """
    traits = getattr(network, "traits", None)
    if traits is None:
        return _former_traits(network)
    if not isinstance(traits, Traits):
        raise ConfigError(f"{type(network).__name__}.traits is a {type(traits).__name__}; expected a dtir Traits(...).")
    return traits


def _former_traits(network: nn.Module) -> Traits:
    found = {trait: getattr(network, name) for name, trait in _FORMER.items() if hasattr(network, name)}
    if found:
        shown = ", ".join(f"{trait}=..." for trait in found)
        warnings.warn(
            f"{type(network).__name__} declares what it is in attributes of its own; write traits = Traits({shown}).",
            DeprecationWarning,
            stacklevel=3,
        )
    return Traits(**found)
