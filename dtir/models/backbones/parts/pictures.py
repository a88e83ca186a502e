"""From a published network's own convention to pictures in [0, 1]: value range, size, and which output is the picture.

Published networks keep their call: some expect pictures centred or normalised, some return every stage. A network that
differs from "(B, 3, H, W) in [0, 1] to the same" says so in its `traits`, and everything that restores goes through
`restored_picture`.
"""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from dtir.core.errors import ConfigError
from dtir.models.backbones.traits import (
    CENTRED_RANGE,
    IMAGENET_RANGE,
    UNIT_RANGE,
    Traits,
    ValueRange,
    traits_of,
)

from .layers import pad_to_multiple

__all__ = ["CENTRED_RANGE", "IMAGENET_RANGE", "UNIT_RANGE", "ValueRange", "decoded_outputs", "restored_picture"]


def restored_picture(backbone: nn.Module, x: Tensor) -> Tensor:
    """What a backbone makes of pictures, whatever its own convention: the first of its outputs.

    Args:
        backbone: A network that takes pictures (B, 3, H, W) as its only required argument.
        x: Pictures (B, 3, H, W) in [0, 1].

    Returns:
        Restored pictures (B, 3, s H, s W) in [0, 1], not clipped, s being the `scale` of its traits.
    """
    traits = traits_of(backbone)
    return _decode(traits, _outputs(backbone, traits, x)[0])


def decoded_outputs(backbone: nn.Module, x: Tensor) -> list[Tensor]:
    """All restored pictures of a backbone for pictures (B, 3, H, W) in [0, 1], in that range, the final one first."""
    traits = traits_of(backbone)
    return [_decode(traits, out) for out in _outputs(backbone, traits, x)[: traits.pictures]]


def _outputs(backbone: nn.Module, traits: Traits, x: Tensor) -> list[Tensor]:
    height, width = x.shape[-2:]
    padded = x if traits.pads else pad_to_multiple(x, traits.size_multiple)
    # A new tensor for every pass, so that no block can be called with the same one in two passes.
    seen = padded.view_as(padded) if traits.input_range == UNIT_RANGE else traits.input_range.encode(padded)
    outputs = list(_flat(backbone(seen)))
    if not outputs:
        raise ConfigError("the backbone's output is empty; expected a picture (B, 3, H, W), or a list that begins so.")
    if not traits.pads:
        outputs = [out[..., : traits.scale * height, : traits.scale * width] for out in outputs]
    return [x - residual for residual in outputs] if traits.residual else outputs


def _flat(out: Tensor | Sequence) -> Iterator[Tensor]:
    if isinstance(out, Tensor):
        yield out
        return
    if not isinstance(out, (list, tuple)):
        raise ConfigError(
            f"the backbone's output is a {type(out).__name__}; expected a picture (B, 3, H, W), or a list or tuple "
            "whose first element is the restored one."
        )
    for part in out:
        yield from _flat(part)


def _decode(traits: Traits, out: Tensor) -> Tensor:
    return out if traits.output_range == UNIT_RANGE else traits.output_range.decode(out)
