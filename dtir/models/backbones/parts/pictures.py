"""From a published network's own convention to pictures in [0, 1]: value range, and which output is the picture.

Published networks keep their call: some expect pictures centred or normalised, some return every stage. A network that
differs from "(B, 3, H, W) in [0, 1] to the same" says so in class attributes, and everything that restores goes through
`restored_picture`: `input_range` and `output_range`, `picture_outputs`, how many of its outputs are restored pictures,
where not all of them are, and `returns_residual`, where its output is what has to be taken from the picture.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class ValueRange(NamedTuple):
    """A picture p in [0, 1] is (p - mean) / std to the network, per channel or for all.

    A backbone declares `input_range` and `output_range` where they are not [0, 1].
    """

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


UNIT_RANGE = ValueRange((0.0,), (1.0,))
CENTRED_RANGE = ValueRange((0.5,), (0.5,))
IMAGENET_RANGE = ValueRange((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def restored_picture(backbone: nn.Module, x: Tensor) -> Tensor:
    """What a backbone makes of pictures, whatever its own convention: the first of its outputs.

    Args:
        backbone: A network that takes pictures (B, 3, H, W) as its only required argument.
        x: Pictures (B, 3, H, W) in [0, 1].

    Returns:
        Restored pictures (B, 3, H, W) in [0, 1], not clipped.
    """
    return _decode(backbone, _outputs(backbone, x)[0])


def decoded_outputs(backbone: nn.Module, x: Tensor) -> list[Tensor]:
    """All restored pictures of a backbone for pictures (B, 3, H, W) in [0, 1], in that range, the final one first."""
    outputs = _outputs(backbone, x)[: getattr(backbone, "picture_outputs", None)]
    return [_decode(backbone, out) for out in outputs]


def _outputs(backbone: nn.Module, x: Tensor) -> list[Tensor]:
    source = getattr(backbone, "input_range", UNIT_RANGE)
    # A new tensor for every pass, so that no block can be called with the same one in two passes.
    out = backbone(x.view_as(x) if source == UNIT_RANGE else source.encode(x))
    outputs = list(_flat(out))
    return [x - residual for residual in outputs] if getattr(backbone, "returns_residual", False) else outputs


def _flat(out: Tensor | Sequence) -> Iterator[Tensor]:
    if isinstance(out, Tensor):
        yield out
        return
    for part in out:
        yield from _flat(part)


def _decode(backbone: nn.Module, out: Tensor) -> Tensor:
    target = getattr(backbone, "output_range", UNIT_RANGE)
    return out if target == UNIT_RANGE else target.decode(out)


def _channelwise(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device, dtype=like.dtype).view(1, -1, 1, 1)
