"""Latent diffusion's autoencoders as codecs (Rombach et al., CVPR 2022), with the published constructor arguments and
state-dict keys; files in diffusers' layout are read too."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dtir.diffusion.domain import to_centred, to_image
from dtir.models.backbones.parts.layers import pad_to_multiple
from dtir.models.backbones.traits import Published
from dtir.registry import CODECS

from .base import Codec, find_state, freeze, thaw
from .colour_fix import check_colour_fix
from .colour_fix import colour_fix as colour_fixed
from .diffusers_keys import from_diffusers
from .feature_wrapping import Decoder_Mix
from .ldm_networks import Decoder, Encoder

# As published: Stable Diffusion's and StableSR's KL-f8, and latent diffusion's VQ-f4, which ResShift runs on.
KL_F8 = {
    "embed_dim": 4,
    "ddconfig": {
        "double_z": True,
        "z_channels": 4,
        "resolution": 512,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 128,
        "ch_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "attn_resolutions": [],
        "dropout": 0.0,
    },
}
VQ_F4 = {
    "embed_dim": 3,
    "n_embed": 8192,
    "ddconfig": {
        "double_z": False,
        "z_channels": 3,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 128,
        "ch_mult": [1, 2, 4],
        "num_res_blocks": 2,
        "attn_resolutions": [],
        "dropout": 0.0,
        "padding_mode": "zeros",
    },
}


# Of faces, in ResShift.
VQ_F8_FACE = {
    "embed_dim": 8,
    "n_embed": 4096,
    "ddconfig": {
        **VQ_F4["ddconfig"],
        "z_channels": 8,
        "resolution": 512,
        "ch": 64,
        "ch_mult": [1, 2, 4, 8],
        "num_res_blocks": [1, 2, 3, 4],
    },
}
# Arguments of the decoder alone.
OF_DECODER = ("give_pre_end", "tanh_out")


class Autoencoder(Codec):
    """An encoder, a decoder, and a 1x1 convolution at each side of the codes.

    Args:
        ddconfig: Arguments of `Encoder` and `Decoder`.
        embed_dim: Channels of the codes.
        scale_factor: What codes are multiplied with, so that their spread is about 1.
        colour_fix: "adain" or "wavelet", to give decoded pictures the colours of the degraded ones, see `colour_fix`.
        weights: As of `Codec`.
        decoder: Makes the decoder from `ddconfig`.

    Raises:
        ConfigError: `colour_fix` is another.
    """

    def __init__(
        self,
        ddconfig: dict,
        embed_dim: int,
        scale_factor: float,
        colour_fix: str | None,
        weights: str | None,
        decoder: Callable[..., nn.Module] = Decoder,
    ) -> None:
        super().__init__(weights)
        check_colour_fix(colour_fix)
        self.colour_fix, self.scale_factor = colour_fix, scale_factor
        self.encoder = Encoder(**{key: value for key, value in ddconfig.items() if key not in OF_DECODER})
        self.decoder = decoder(**ddconfig)
        moments, z_channels = self.encoder.conv_out.out_channels, self.decoder.conv_in.in_channels
        self.quant_conv = nn.Conv2d(moments, moments // z_channels * embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(embed_dim, z_channels, 1)
        self.channels, self.factor = embed_dim, 2 ** (len(self.encoder.down) - 1)

    @override
    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        own = self.state_dict()
        return find_state(own, state) or find_state(own, from_diffusers(state)) or {}

    def moments(self, picture: Tensor, return_fea: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        """What the encoder gives of pictures (B, 3, H, W) in [0, 1], mirrored up to multiples of `factor`."""
        return self.encoder(pad_to_multiple(to_centred(picture), self.factor), return_fea)

    def picture(self, z: Tensor, lq: Tensor, *kept: list[Tensor]) -> Tensor:
        """Codes (B, channels, h, w), not scaled, to pictures in image units, of the degraded pictures' size."""
        decoded = self.decoder(self.post_quant_conv(z), *kept)[..., : lq.shape[-2], : lq.shape[-1]]
        return to_image(colour_fixed(self.colour_fix, decoded, to_centred(lq)))


class KLAutoencoder(Autoencoder):
    """An `Autoencoder` whose encoder gives means and logarithms of variances. The published code draws; here codes are
    the means."""

    def code(self, moments: Tensor) -> Tensor:
        """The scaled means of what the encoder gives."""
        return self.scale_factor * self.quant_conv(moments).chunk(2, dim=1)[0]


@CODECS.register_module(name=["AutoencoderKL", "AutoencoderKLTorch"])
class AutoencoderKL(KLAutoencoder):
    """Codes are means of Gaussians: the KL-f8 of Stable Diffusion.

    Args:
        ddconfig: Arguments of `Encoder` and `Decoder`; by default the published ones.
        embed_dim: Channels of the codes.
        scale_factor: What codes are multiplied with.
        colour_fix: "adain" or "wavelet", see `dtir.models.codecs.colour_fix`.
        weights: File with the keys of latent diffusion (`encoder.*`, `quant_conv.*`, ..., below any prefix, such as
            `first_stage_model.`), or of diffusers.

    Raises:
        ConfigError: An argument is not one of those named.
    """

    PUBLISHED: ClassVar[Mapping[str, Published]] = {"kl_f8": Published(KL_F8)}

    def __init__(
        self,
        ddconfig: dict | None = None,
        embed_dim: int = 4,
        scale_factor: float = 0.18215,
        colour_fix: str | None = None,
        weights: str | None = None,
    ) -> None:
        super().__init__(ddconfig or KL_F8["ddconfig"], embed_dim, scale_factor, colour_fix, weights)
        freeze(self)

    def encode(self, picture: Tensor) -> tuple[Tensor, None]:
        """Pictures (B, 3, H, W) in [0, 1] to the scaled means of their codes, and nothing."""
        return self.code(self.moments(picture)), None

    def decode(self, z: Tensor, kept: object, lq: Tensor) -> Tensor:
        """Codes to pictures of the size of the degraded ones (B, 3, H, W)."""
        return self.picture(z / self.scale_factor, lq)


@CODECS.register_module()
class AutoencoderKLResi(KLAutoencoder):
    """StableSR's: the decoder takes in the degraded picture's features (controllable feature wrapping).

    Args:
        ddconfig: As of `AutoencoderKL`.
        embed_dim: As of `AutoencoderKL`.
        fusion_w: w of the paper, 0 for what is generated alone, 1 for the most of what is there.
        num_fuse_block: Dense blocks of each fusion.
        scale_factor: As of `AutoencoderKL`.
        colour_fix: As of `AutoencoderKL`.
        weights: As of `AutoencoderKL`, with the fusions: StableSR's `vqgan_cfw_00011.ckpt`.

    Raises:
        ConfigError: An argument is not one of those named.
    """

    PUBLISHED: ClassVar[Mapping[str, Published]] = {"stablesr_cfw": Published(KL_F8)}

    def __init__(
        self,
        ddconfig: dict | None = None,
        embed_dim: int = 4,
        fusion_w: float = 0.5,
        num_fuse_block: int = 2,
        scale_factor: float = 0.18215,
        colour_fix: str | None = None,
        weights: str | None = None,
    ) -> None:
        decoder = partial(Decoder_Mix, num_fuse_block=num_fuse_block, fusion_w=fusion_w)
        super().__init__(ddconfig or KL_F8["ddconfig"], embed_dim, scale_factor, colour_fix, weights, decoder)
        freeze(self)

    def encode(self, picture: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Pictures (B, 3, H, W) in [0, 1] to the scaled means of their codes, and the features for the decoder."""
        moments, features = self.moments(picture, return_fea=True)
        return self.code(moments), features

    def decode(self, z: Tensor, kept: list[Tensor], lq: Tensor) -> Tensor:
        """Codes and the features of the degraded pictures (B, 3, H, W) to pictures of their size."""
        return self.picture(z / self.scale_factor, lq, kept)

    def wrapped(self, z: Tensor, kept: list[Tensor], lq: Tensor, weight: float) -> Tensor:
        """As `decode`, at another w and without the colour fix: what the fusions are trained by."""
        decoded = self.decoder(self.post_quant_conv(z / self.scale_factor), kept, weight)
        return to_image(decoded[..., : lq.shape[-2], : lq.shape[-1]])

    def thaw_fusions(self) -> None:
        """Makes the fusions trainable. Files of weights may then be without them, as latent diffusion's are."""
        for fusion in self.decoder.fusions():
            thaw(fusion)

    @override
    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = super().from_published(state)
        begun = {key: p.detach() for key, p in self.named_parameters()}
        if found or not begun:
            return found
        own = {key: value for key, value in self.state_dict().items() if key not in begun}
        found = find_state(own, state) or find_state(own, from_diffusers(state))
        return {**begun, **found} if found else {}


class VectorQuantizer(nn.Module):
    """Replaces each code by the nearest entry of a codebook.

    Args:
        n_embed: Entries.
        embed_dim: Channels.
    """

    def __init__(self, n_embed: int, embed_dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_embed, embed_dim)
        nn.init.uniform_(self.embedding.weight, -1 / n_embed, 1 / n_embed)

    def forward(self, z: Tensor) -> Tensor:
        """(B, embed_dim, h, w) to the same shape."""
        codes, book = z.permute(0, 2, 3, 1), self.embedding.weight
        # |z - e|^2 without |z|^2, which is the same for all entries.
        nearest = torch.addmm(book.square().sum(1), codes.reshape(-1, book.shape[1]), book.t(), alpha=-2).argmin(1)
        return F.embedding(nearest, book).view(codes.shape).permute(0, 3, 1, 2)


@CODECS.register_module(name=["VQModel", "VQModelTorch"])
class VQModel(Autoencoder):
    """Codes are quantised when they are decoded: the VQ-f4 of latent diffusion, on which ResShift runs.

    Args:
        ddconfig: Arguments of `Encoder` and `Decoder`; by default the published ones.
        n_embed: Entries of the codebook.
        embed_dim: Channels of the codes.
        scale_factor: What codes are multiplied with.
        colour_fix: As of `AutoencoderKL`.
        weights: File with the keys of latent diffusion (`encoder.*`, `quantize.embedding.weight`, ...), or of
            diffusers: ResShift's `autoencoder_vq_f4.pth`.

    Raises:
        ConfigError: An argument is not one of those named.
    """

    PUBLISHED: ClassVar[Mapping[str, Published]] = {
        "vq_f4": Published(VQ_F4),
        "vq_f8_face": Published(VQ_F8_FACE),
    }

    def __init__(
        self,
        ddconfig: dict | None = None,
        n_embed: int = 8192,
        embed_dim: int = 3,
        scale_factor: float = 1.0,
        colour_fix: str | None = None,
        weights: str | None = None,
    ) -> None:
        super().__init__(ddconfig or VQ_F4["ddconfig"], embed_dim, scale_factor, colour_fix, weights)
        self.quantize = VectorQuantizer(n_embed, embed_dim)
        freeze(self)

    def encode(self, picture: Tensor) -> tuple[Tensor, None]:
        """Pictures (B, 3, H, W) in [0, 1] to scaled codes that are not quantised yet, and nothing."""
        return self.scale_factor * self.quant_conv(self.moments(picture)), None

    def decode(self, z: Tensor, kept: object, lq: Tensor) -> Tensor:
        """Codes, quantised first, to pictures of the size of the degraded ones (B, 3, H, W)."""
        return self.picture(self.quantize(z / self.scale_factor), lq)
