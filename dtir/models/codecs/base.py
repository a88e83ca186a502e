"""What every codec is: from pictures to what a diffusion runs on, and back."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from dtir.core.checkpoint import load_checkpoint, load_state
from dtir.core.errors import CheckpointError


class Codec(nn.Module, ABC):
    """Encodes pictures and decodes what a diffusion has made of them. No diffusion trains its codec.

    The weights are buffers, made so by `freeze`: no optimiser, average of weights or pattern of a stage reaches them,
    and checkpoints of a training carry them, so that what restores needs no other file.

    Args:
        weights: File of published weights that a training starts from; None where there are none to read.

    Attributes:
        channels: Channels of the codes.
        factor: How many times higher and wider pictures are than their codes.
    """

    channels: int = 3
    factor: int = 1

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        self.weights = weights

    @abstractmethod
    def encode(self, picture: Tensor) -> tuple[Tensor, object]:
        """Pictures to codes.

        Args:
            picture: (B, 3, H, W) in [0, 1], H, W >= 1.

        Returns:
            Codes (B, channels, h, w) of at least H and W over `factor`, and what is kept for `decode`.
        """

    @abstractmethod
    def decode(self, z: Tensor, kept: object, lq: Tensor) -> Tensor:
        """Codes to pictures.

        Args:
            z: (B, channels, h, w).
            kept: What `encode` kept of the degraded pictures.
            lq: The degraded pictures (B, 3, H, W) in [0, 1].

        Returns:
            (B, 3, H, W) in image units, not clipped.
        """

    @property
    def published(self) -> nn.Module:
        """The module whose state-dict keys are those of the file of weights."""
        return self

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of a file with the keys of `published`; a subclass may know other layouts."""
        return find_state(self.published.state_dict(), state) or {}

    def init_weights(self) -> None:
        """Reads the weights, when a training starts.

        Raises:
            CheckpointError: The file cannot be read, or holds another network's.
        """
        if self.weights is None:
            return
        state = next(filter(None, map(self.from_published, _states(load_checkpoint(self.weights)))), None)
        if state is None:
            own = ", ".join(list(self.published.state_dict())[:3])
            raise CheckpointError(
                f"'{self.weights}' does not hold the weights of {type(self).__name__} as configured; expected keys "
                f"such as {own}, below any prefix."
            )
        load_state(self.published, state, self.weights)

    def train(self, mode: bool = True) -> "Codec":
        """A codec stays in eval mode."""
        return super().train(False)


def freeze(network: nn.Module) -> None:
    """Makes buffers of all parameters, with the same keys in the state dict, and puts the network into eval mode."""
    network.eval()
    for module in network.modules():
        for name, p in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, p.detach())


def thaw(network: nn.Module) -> None:
    """Makes parameters again of all buffers that `freeze` has made of them, for what trains a part of a codec."""
    for module in network.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            delattr(module, name)
            module.register_parameter(name, nn.Parameter(buffer))


def find_state(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The tensors of a state dict that have the keys of `own` below one prefix; None where there are no such."""
    probe = next(iter(own))
    for key in state:
        if key == probe or key.endswith(f".{probe}"):
            prefix = key[: len(key) - len(probe)]
            if all(prefix + name in state for name in own):
                return {name: state[prefix + name] for name in own}
    return None


def _states(checkpoint: Mapping) -> Iterator[dict[str, Tensor]]:
    """The dicts of tensors in a checkpoint."""
    tensors = {key: value for key, value in checkpoint.items() if isinstance(value, Tensor)}
    if tensors:
        yield tensors
    for value in checkpoint.values():
        if isinstance(value, Mapping):
            yield from _states(value)
