"""Codecs of diffusions on pictures themselves."""

from torch import Tensor

from dtir.diffusion.domain import to_centred, to_image
from dtir.registry import CODECS

from .base import Codec


@CODECS.register_module(name="image")
class ImageCodec(Codec):
    """Pictures in [0, 1], as they are."""

    def __init__(self) -> None:
        super().__init__()

    def encode(self, picture: Tensor) -> tuple[Tensor, None]:
        """(B, 3, H, W) in [0, 1] as they are."""
        return picture, None

    def decode(self, z: Tensor, kept: object, lq: Tensor) -> Tensor:
        """(B, 3, H, W) as they are."""
        return z


@CODECS.register_module(name="centred")
class CentredCodec(Codec):
    """Pictures in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()

    def encode(self, picture: Tensor) -> tuple[Tensor, None]:
        """(B, 3, H, W) from [0, 1] to [-1, 1]."""
        return to_centred(picture), None

    def decode(self, z: Tensor, kept: object, lq: Tensor) -> Tensor:
        """(B, 3, H, W) from [-1, 1] to [0, 1]."""
        return to_image(z)
