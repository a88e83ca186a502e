"""Published unconditional denoisers: bare weights as what training-free guidance restores with."""

from pathlib import Path

from torch import Tensor

from dtir.core.errors import ConfigError
from dtir.models.backbones import UNetModel
from dtir.models.conditioning import NoiseNetwork
from dtir.models.restorers import DiffusionRestorer

# Of guided-diffusion: betas linear from 1e-4 to 0.02, on so many steps.
STEPS = 1000


class PublishedPrior(DiffusionRestorer):
    """A denoiser of a published network. It predicts noise, for `GuidedRestorer`, and restores nothing by itself.

    Args:
        network: The network.
        source: Its file, for messages.
    """

    def __init__(self, network: UNetModel, source: str | Path) -> None:
        super().__init__(
            network={"type": NoiseNetwork, "backbone": network},
            scheduler={"type": "DDPMScheduler", "num_timesteps": STEPS, "train_timesteps": STEPS},
            tasks=["noisy"],
        )
        self.source = source

    def restore(self, lq: Tensor, t: Tensor) -> Tensor:
        """Raises ConfigError: there is nothing to restore with but guidance."""
        raise ConfigError(
            f"'{self.source}' is an unconditional denoiser, which restores by guidance alone: dtir guide PICTURE "
            f"--checkpoint {self.source} --config configs/training_free/ddnm_sr.py --out restored."
        )
