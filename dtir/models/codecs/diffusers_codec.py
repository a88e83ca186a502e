"""Autoencoders of diffusers as codecs."""

from collections.abc import Mapping
from types import ModuleType

from torch import Tensor, nn

from dtir.core.errors import ConfigError
from dtir.core.extras import needs_extra
from dtir.core.names import did_you_mean
from dtir.diffusion.domain import to_centred, to_image
from dtir.models.backbones.parts.layers import pad_to_multiple
from dtir.registry import CODECS

from .base import Codec, freeze
from .colour_fix import check_colour_fix
from .colour_fix import colour_fix as colour_fixed


@CODECS.register_module()
class DiffusersCodec(Codec):
    """An autoencoder that diffusers (the extra `diffusers`) has and this package has not.

    Args:
        network: Name of the class, such as "AutoencoderTiny".
        config: Its arguments: the values of the `config.json` beside its weights.
        scale_factor: What codes are multiplied with; by default `scaling_factor` of its config.
        colour_fix: As of `AutoencoderKL`.
        weights: Its `diffusion_pytorch_model.safetensors`.

    Raises:
        ConfigError: diffusers is not installed, or has no such class.
    """

    def __init__(
        self,
        network: str = "AutoencoderKL",
        config: Mapping | None = None,
        scale_factor: float | None = None,
        colour_fix: str | None = None,
        weights: str | None = None,
    ) -> None:
        super().__init__(weights)
        check_colour_fix(colour_fix)
        self.colour_fix = colour_fix
        # Keys of a config.json that are no arguments begin with an underscore.
        arguments = {key: value for key, value in (config or {}).items() if not key.startswith("_")}
        self.network: nn.Module = _kind(network)(**arguments)
        settings = self.network.config
        self.scale_factor = settings.scaling_factor if scale_factor is None else scale_factor
        self.channels = settings.get("vq_embed_dim") or settings.latent_channels
        widths = settings.get("block_out_channels") or settings.encoder_block_out_channels
        self.factor = 2 ** (len(widths) - 1)
        freeze(self)

    @property
    def published(self) -> nn.Module:
        """The autoencoder."""
        return self.network

    def encode(self, picture: Tensor) -> tuple[Tensor, None]:
        """Pictures (B, 3, H, W) in [0, 1] to scaled codes, of distributions their means, and nothing."""
        out = self.network.encode(pad_to_multiple(to_centred(picture), self.factor))
        code = out.latent_dist.mode() if hasattr(out, "latent_dist") else out.latents
        return self.scale_factor * code, None

    def decode(self, z: Tensor, kept: object, lq: Tensor) -> Tensor:
        """Codes to pictures of the size of the degraded ones (B, 3, H, W)."""
        decoded = self.network.decode(z / self.scale_factor).sample[..., : lq.shape[-2], : lq.shape[-1]]
        return to_image(colour_fixed(self.colour_fix, decoded, to_centred(lq)))


def library(user: str = "DiffusersCodec") -> ModuleType:
    """The package diffusers.

    Args:
        user: What needs it, for the error.

    Raises:
        MissingExtraError: It is not installed.
    """
    with needs_extra(user, "diffusers"):
        import diffusers
    return diffusers


def _kind(network: str) -> type[nn.Module]:
    diffusers = library()
    known = [name for name in dir(diffusers) if name.startswith(("Autoencoder", "VQModel", "AsymmetricAutoencoder"))]
    if network not in known:
        raise ConfigError(f"diffusers has no autoencoder '{network}'.{did_you_mean(network, known)}")
    return getattr(diffusers, network)
