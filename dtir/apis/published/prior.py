"""Published unconditional denoisers: bare weights as what training-free guidance restores with."""

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from dtir.core.errors import CheckpointError, ConfigError
from dtir.models.backbones.parts.layers import pad_to_multiple
from dtir.models.backbones.traits import CENTRED_RANGE, Traits
from dtir.models.codecs.diffusers_codec import library
from dtir.models.conditioning import NoiseNetwork
from dtir.models.restorers import DiffusionRestorer

# Of guided-diffusion: betas linear from 1e-4 to 0.02, on so many steps.
STEPS = 1000
PROCESS = {"type": "DDPMScheduler", "num_timesteps": STEPS, "train_timesteps": STEPS}
# Betas that diffusers and `DDPMScheduler` both have, and call alike.
BETAS = ("linear", "scaled_linear")


class PublishedPrior(DiffusionRestorer):
    """A denoiser of a published network. It predicts noise, for `GuidedRestorer`, and restores nothing by itself.

    Args:
        network: The network, as `NoisePrediction` takes it.
        source: Its file or folder, for messages.
        process: Config of the process that it was trained on; guided-diffusion's by default.
    """

    def __init__(self, network: nn.Module, source: str | Path, process: Mapping = PROCESS) -> None:
        super().__init__({"type": NoiseNetwork, "backbone": network}, ["noisy"], dict(process))
        self.source = source

    def restore(self, lq: Tensor, t: Tensor) -> Tensor:
        """Raises ConfigError: there is nothing to restore with but guidance."""
        raise ConfigError(
            f"'{self.source}' is an unconditional denoiser, which restores by guidance alone: dtir guide PICTURE "
            f"--checkpoint {self.source} --config configs/training_free/ddnm_sr.py --out restored."
        )


class DiffusersUNet(nn.Module):
    """A U-Net of diffusers (`UNet2DModel`) that predicts noise in centred states.

    Args:
        unet: It.
    """

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet
        multiple = 2 ** (len(unet.config.block_out_channels) - 1)
        self.traits = Traits(input_range=CENTRED_RANGE, size_multiple=multiple, residual=True)

    def forward(self, x: Tensor, timesteps: Tensor | float = 0) -> Tensor:
        """The noise (B, C, H, W) in states of that shape, at indices of steps from 0 on, one or (B,)."""
        out = self.unet(pad_to_multiple(x, self.traits.size_multiple), timesteps).sample
        # Behind the noise there may be a learned variance.
        return out[:, : x.shape[1], : x.shape[2], : x.shape[3]]


def is_diffusers_folder(path: str | Path) -> bool:
    """Whether a pipeline of diffusers is saved there."""
    return (Path(path) / "model_index.json").is_file()


def diffusers_prior(folder: str | Path) -> PublishedPrior:
    """The denoiser of an unconditional pipeline of diffusers, such as `DDPMPipeline.save_pretrained` writes it.

    Args:
        folder: With `unet/` (config.json and safetensors) and `scheduler/scheduler_config.json`.

    Raises:
        CheckpointError: A file is missing or cannot be read, the network is not of colour pictures, or the process
            is another than one to noise, predicted as such, with betas that are linear, or whose roots are.
        ConfigError: diffusers is not installed.
    """
    place = Path(folder)
    unet_class = library("A denoiser of diffusers").UNet2DModel
    try:
        process = json.loads((place / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
        unet = unet_class.from_pretrained(place / "unet", use_safetensors=True, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"'{place}' is no saved pipeline of an unconditional denoiser (unet/ with safetensors, "
            f"scheduler/scheduler_config.json): {error}"
        ) from error
    asked = {"prediction_type": process.get("prediction_type", "epsilon"), "in_channels": unet.config.in_channels}
    schedule = process.get("beta_schedule", "linear")
    if (
        asked != {"prediction_type": "epsilon", "in_channels": 3}
        or schedule not in BETAS
        or process.get("trained_betas")
    ):
        raise CheckpointError(
            f"'{place}': {asked}, beta_schedule '{schedule}'; expected a network of 3 channels that predicts "
            f"'epsilon', and betas that are {' or '.join(BETAS)}."
        )
    steps = process.get("num_train_timesteps", STEPS)
    betas = {key: process[key] for key in ("beta_start", "beta_end") if key in process}
    config = {**PROCESS, "num_timesteps": steps, "train_timesteps": steps, "beta_schedule": schedule, **betas}
    return PublishedPrior(DiffusersUNet(unet), place, config)
