"""The second stage of StableSR: feature wrapping is trained on what the first stage's network samples."""

import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.core.seeding import device_generator
from dtir.models.codecs import AutoencoderKLResi
from dtir.models.losses import per_sample
from dtir.registry import RESTORERS

from .conditional_diffusion import ConditionalDiffusionRestorer
from .trained_network import read_network


@RESTORERS.register_module()
class FeatureWrappingRestorer(ConditionalDiffusionRestorer):
    """A trained latent diffusion whose codec's fusions (`Decoder_Mix`) learn to decode its samples to clean pictures.

    Wang et al., "Exploiting Diffusion Prior for Real-World Image Super-Resolution", IJCV 2024, section 3.3. The
    published code samples once and trains on the files; here every training sample is sampled anew. In the stage, set
    `trainable=["codec.decoder.fusion_layer_*"]`. The checkpoint restores as one of `ConditionalDiffusionRestorer`.

    Args:
        trained: Checkpoint of the diffusion's training, whose network is read when a training starts; what restores
            does not need it.
        training_w: w of the paper in the training; `codec.fusion_w` is that of restorations.
        **options: Of `ConditionalDiffusionRestorer`; the codec is an `AutoencoderKLResi`, whose `weights` may lack the
            fusions, and `loss` compares pictures, by default L1.

    Raises:
        ConfigError: As `ConditionalDiffusionRestorer`; or the codec is another, or w is outside (0, 1].
    """

    def __init__(self, *, trained: str | None = None, training_w: float = 1.0, **options) -> None:
        super().__init__(**{"loss": {"type": "L1Loss"}, **options})
        if not isinstance(self.codec, AutoencoderKLResi):
            raise ConfigError(
                f"model.codec: {type(self.codec).__name__} wraps no features; FeatureWrappingRestorer trains those of "
                "AutoencoderKLResi."
            )
        if not 0 < training_w <= 1:
            raise ConfigError(f"model.training_w={training_w}; expected a number above 0 and of at most 1.")
        self.trained, self.training_w = trained, training_w
        self.codec.thaw_fusions()

    def init_weights(self) -> None:
        """Reads the weights of the codec and of the trained network, when a training starts.

        Raises:
            ConfigError: No trained network is named.
            CheckpointError: A file cannot be read, or is another network's.
        """
        super().init_weights()
        if self.trained is None:
            raise ConfigError("model.trained is needed for a training: the checkpoint of the diffusion that samples.")
        read_network(self.backbone, self.trained)

    @override
    def losses(self, lq: Tensor, samples: dict) -> dict[str, Tensor]:
        """`loss_restoration`; the samples also hold `noise_seed` (int).

        Raises:
            ConfigError: The stage asks for generative samples.
        """
        self.refuse_generative(samples)
        with torch.no_grad():
            code, kept = self.codec.encode(lq)
            # Each by itself, with noise of its own, so that it does not depend on what else is in the batch.
            sampled = [
                self.sampled(code[k : k + 1], lq[k : k + 1], device_generator(lq.device, samples["noise_seed"], slot))
                for k, slot in enumerate(samples["slots"].tolist())
            ]
        picture = self.codec.wrapped(torch.cat(sampled), kept, lq, self.training_w)
        return {"loss_restoration": per_sample(self.loss, picture, samples["gt"]).mean()}
