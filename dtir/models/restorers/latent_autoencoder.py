"""The first stage of Refusion: the autoencoder that a latent diffusion runs on."""

from torch import Tensor
from typing_extensions import override

from dtir.config.values import misfit
from dtir.core.errors import ConfigError
from dtir.core.ranges import NonNegative
from dtir.models.backbones import LatentUNet
from dtir.registry import RESTORERS

from .supervised_restorer import SupervisedRestorer


@RESTORERS.register_module()
class LatentAutoencoderRestorer(SupervisedRestorer):
    """Trains a `LatentUNet` so that a clean picture's code, decoded with the degraded picture's features, is clean.

    Luo et al., "Refusion: Enabling Large-Size Realistic Image Restoration with Latent-Space Diffusion Models", CVPR
    workshops 2023; the third term is that of the published code. The checkpoint is `weights` of the codec `LatentUNet`;
    by itself it gives a picture back as it is, and restores nothing.

    Args:
        spread_weight: Weight of `loss_spread`.
        **options: Of `SupervisedRestorer`, whose `losses` compare pictures; the backbone is a `LatentUNet`.

    Raises:
        ConfigError: As `SupervisedRestorer`; or the backbone is another, or the weight is no number of at least 0.
    """

    def __init__(self, *, spread_weight: float = 0.001, **options) -> None:
        super().__init__(**options)
        if not isinstance(self.backbone, LatentUNet):
            raise ConfigError(
                f"model.backbone: {type(self.backbone).__name__} has no code and features to decode it with; "
                "LatentAutoencoderRestorer trains a LatentUNet."
            )
        problem = misfit(spread_weight, NonNegative, "model.spread_weight")
        if problem:
            raise ConfigError(str(problem))
        self.spread_weight = spread_weight

    @override
    def losses(self, lq: Tensor, samples: dict) -> dict[str, Tensor]:
        """Three terms.

        `loss_own` is of the degraded picture by its own code and features, `loss_replaced` of the clean picture by its
        own code and the degraded one's features. `loss_spread` is how far mean and standard deviation of the degraded
        pictures' codes are from the pictures' mean and half their standard deviation.

        Raises:
            ConfigError: The stage asks for generative samples.
        """
        self.refuse_generative(samples)
        gt = samples["gt"]
        (code, features), (clean, _) = self.backbone.encode(lq), self.backbone.encode(gt)
        own, replaced = (self.backbone.decode(z, features)[..., : lq.shape[-2], : lq.shape[-1]] for z in (code, clean))
        spread = (code.mean() - lq.mean()).abs() + (code.std() - 0.5 * lq.std()).abs()
        return {
            "loss_own": self.criterion(own, lq).mean(),
            "loss_replaced": self.criterion(replaced, gt).mean(),
            "loss_spread": self.spread_weight * spread,
        }
