"""Refusion's autoencoder as a codec (Luo et al., CVPR workshops 2023)."""

from collections.abc import Sequence

from torch import Tensor, nn

from dtir.models.backbones.image.latent_unet import LatentUNet
from dtir.registry import CODECS

from .base import Codec, freeze


@CODECS.register_module(name=["LatentUNet", "UNet"])
class LatentUNetCodec(Codec):
    """The bottom of a U-Net is what a diffusion runs on; the degraded picture's skips carry the detail.

    Args:
        in_ch: Channels of the pictures, 3.
        out_ch: Channels of the output, 3.
        ch: Channels of the first features.
        ch_mult: Channels after each level over `ch`.
        embed_dim: Channels of the codes.
        weights: As of `Codec`: Refusion's `latent-dehazing.pth`.
    """

    def __init__(
        self,
        in_ch: int = 3,
        out_ch: int = 3,
        ch: int = 64,
        ch_mult: Sequence[int] = (1, 2, 4, 4),
        embed_dim: int = 4,
        weights: str | None = None,
    ) -> None:
        super().__init__(weights)
        self.network = LatentUNet(in_ch, out_ch, ch, ch_mult, embed_dim)
        self.channels, self.factor = embed_dim, 2 ** (len(ch_mult) - 1)
        freeze(self)

    @property
    def published(self) -> nn.Module:
        """The U-Net."""
        return self.network

    def encode(self, picture: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Pictures (B, 3, H, W) to codes, of pictures mirrored to a multiple of 2^levels, and the skips."""
        return self.network.encode(picture)

    def decode(self, z: Tensor, kept: list[Tensor], lq: Tensor) -> Tensor:
        """Codes and the skips of the degraded pictures (B, 3, H, W) to pictures of their size."""
        return self.network.decode(z, kept)[..., : lq.shape[-2], : lq.shape[-1]]
