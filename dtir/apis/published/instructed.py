"""InstructIR's published checkpoints: a network that does what a sentence says."""

from pathlib import Path

import torch
from torch import Tensor

from dtir.apis.published.weights import WeightsRestorer
from dtir.apis.restoring.outcome import Pass
from dtir.core.checkpoint import load_checkpoint, load_state
from dtir.core.errors import CheckpointError, ConfigError
from dtir.models.backbones import InstructIR
from dtir.models.text import InstructionHead, find_text_encoder
from dtir.models.text.instruction_head import DEGRADATIONS

# The published names of the network's file and of its language head's: im_instructir-7d.pt, lm_instructir-7d.pt.
NETWORK_PREFIX, HEAD_PREFIX = "im_", "lm_"


class InstructedRestorer(WeightsRestorer):
    """Restores as a prompt says. Whole sentences are read by the network itself, in the languages of the encoder.

    Args:
        backbone: The network.
        head: From sentences to instructions.
        source: The network's file, for messages.

    Raises:
        CheckpointError: Head and network belong to different models.
    """

    def __init__(self, backbone: InstructIR, head: InstructionHead, source: str | Path) -> None:
        super().__init__(backbone)
        if head.fc1.out_features != backbone.text_dim:
            raise CheckpointError(
                f"the language head beside '{source}' gives instructions of length {head.fc1.out_features}, and the "
                f"network takes {backbone.text_dim}; the two files belong to different models."
            )
        self.head, self.source = head, source
        self.encoder = None
        self._prompt: str | None = None
        self._pass: Pass | None = None
        self.register_buffer("instruction", torch.zeros(1, backbone.text_dim), persistent=False)

    def set_encoder(self, place: str | Path) -> None:
        """Chooses what reads sentences, see `dtir.models.text.find_text_encoder`.

        Raises:
            CheckpointError: It gives vectors of another length than the head takes; or there is none.
            LibraryError: A library is missing.
        """
        encoder = find_text_encoder(place)
        if encoder.dim != self.head.fc1.in_features:
            raise CheckpointError(
                f"the sentence encoder '{place}' gives vectors of length {encoder.dim}, and the language head beside "
                f"'{self.source}' takes {self.head.fc1.in_features}; the published one is for TaylorAI/bge-micro-v2."
            )
        self.encoder, self._prompt = encoder, None

    def check_encoder(self) -> None:
        """Raises ConfigError if there is nothing that reads sentences."""
        if self.encoder is None:
            raise ConfigError(
                f"'{self.source}' needs a sentence encoder to read the prompt: --encoder FOLDER of the model "
                "TaylorAI/bge-micro-v2, or a file of embeddings (encoder=... in Python); see docs/language.md."
            )

    @torch.inference_mode()
    def instruct(self, prompt: str) -> Pass:
        """Sets what is to be done, and returns what the head takes it for, with its probability.

        Raises:
            ConfigError: There is no encoder, or it does not know the sentence.
        """
        self.check_encoder()
        if prompt != self._prompt:
            device = self.instruction.device
            instruction, logits = self.head(self.encoder.encode([prompt]).to(device))
            chances = logits.softmax(1)[0]
            best = int(chances.argmax())
            names = DEGRADATIONS if len(chances) == len(DEGRADATIONS) else [f"class {n}" for n in range(len(chances))]
            self.instruction = instruction
            self._prompt, self._pass = prompt, Pass(names[best], float(chances[best]), 0)
        return self._pass

    def restore(self, lq: Tensor, t: Tensor) -> Tensor:
        """Degraded (B, 3, H, W) in [0, 1] to pictures of that size, not clipped; `t` plays no part."""
        return self.backbone(lq, self.instruction.expand(len(lq), -1))


def instructed_restorer(backbone: InstructIR, path: str | Path) -> InstructedRestorer:
    """The restorer of a published checkpoint, whose language head lies beside it.

    Raises:
        CheckpointError: There is no head, or it is another's.
    """
    path = Path(path)
    beside = path.with_name(HEAD_PREFIX + path.stem.removeprefix(NETWORK_PREFIX) + path.suffix)
    if not beside.is_file():
        raise CheckpointError(
            f"'{path}' is InstructIR's network, which is published in two files: its language head is not at "
            f"'{beside}'. Put it there under that name."
        )
    state = load_checkpoint(beside)
    try:
        head = InstructionHead(**InstructionHead.settings_of(state))
    except (KeyError, AttributeError, ValueError) as error:
        raise CheckpointError(f"'{beside}' is no language head of InstructIR: it lacks {error}.") from error
    load_state(head, state, beside)
    return InstructedRestorer(backbone, head, path)
