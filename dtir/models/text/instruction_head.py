"""InstructIR's language head (Conde et al., ECCV 2024, section 3.2): published as `LMHead`, `lm_instructir-7d.pt`."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

# What the seven classes of the published head are, by their numbers in the published code (`DEG_MAP`).
DEGRADATIONS = ("noise", "blur", "rain", "haze", "low-light", "low-resolution", "retouching")


class InstructionHead(nn.Module):
    """From the embedding of a sentence to that of an instruction, and to the damage that it speaks of.

    Args:
        embedding_dim: Length of the sentence's embedding.
        hidden_dim: Length of the instruction's embedding.
        num_classes: Kinds of damage.
    """

    def __init__(self, embedding_dim: int = 384, hidden_dim: int = 256, num_classes: int = 7) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embedding_dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, num_classes)

    @classmethod
    def settings_of(cls, state: Mapping[str, Tensor]) -> dict:
        """The constructor arguments of the head with these tensors.

        Raises:
            KeyError: They are no head's.
        """
        hidden_dim, embedding_dim = state["fc1.weight"].shape
        return {"embedding_dim": embedding_dim, "hidden_dim": hidden_dim, "num_classes": len(state["fc2.weight"])}

    def forward(self, sentence: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, embedding_dim) to instructions (B, hidden_dim) of length 1, and logits (B, num_classes)."""
        instruction = F.normalize(self.fc1(sentence), dim=1)
        return instruction, self.fc2(instruction)
