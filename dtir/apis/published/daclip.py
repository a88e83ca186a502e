"""DA-CLIP's published checkpoint: IR-SDE's process around its U-Net, told by DA-CLIP's model what it sees."""

from pathlib import Path

from dtir.core.errors import CheckpointError, ConfigError
from dtir.models.backbones import DACLIPUNet
from dtir.models.restorers import DACLIPRestorer
from dtir.tasks import TASKS

# As published in options/test.yml: the network, universal-ir.pth, and the model that tells it what it sees.
ENCODER_FILE = "daclip_ViT-B-32.pt"
PROCESS = {"type": "IRSDE", "max_sigma": 50, "T": 100, "schedule": "cosine", "eps": 0.005}
SAMPLER = {"type": "PosteriorSampler"}


class PublishedDACLIPRestorer(DACLIPRestorer):
    """Restores with a published network, which needs DA-CLIP's model beside it.

    Args:
        backbone: Config of the network.
        context_dim: Length of the embeddings.
        source: The network's file, for messages.
    """

    def __init__(self, backbone: dict, context_dim: int, source: str | Path) -> None:
        super().__init__(
            backbone, TASKS, context_dim, scheduler=PROCESS, sampler=SAMPLER, matching="step", domain="image"
        )
        self.source = source

    def check_encoder(self) -> None:
        """Raises ConfigError if there is no model that tells the network what it sees."""
        if self.encoder is None:
            raise ConfigError(
                f"'{self.source}' is DA-CLIP's network, which needs DA-CLIP's model to read the picture: put "
                f"{ENCODER_FILE} beside it, or name it with --encoder (encoder=... in Python); see docs/language.md."
            )


def daclip_restorer(network: DACLIPUNet, config: dict, path: str | Path) -> PublishedDACLIPRestorer:
    """The restorer of a published network; DA-CLIP's model is read where it lies beside it.

    Raises:
        CheckpointError: The network takes no embeddings of the damage, or the model beside it is another's.
        LibraryError: The model is there, and open_clip is not installed.
    """
    if not network.use_degra_context:
        raise CheckpointError(
            f"'{path}' is a DA-CLIP network without embeddings of the damage; it cannot restore here."
        )
    restorer = PublishedDACLIPRestorer(config, network.text_mlp[0].in_features, path)
    restorer.backbone = network
    beside = Path(path).with_name(ENCODER_FILE)
    if beside.is_file():
        restorer.set_encoder(beside)
    return restorer
