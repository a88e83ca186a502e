"""The contract of losses: one value for each sample."""

from torch import Tensor, nn

from dtir.core.errors import ConfigError


def per_sample(loss: nn.Module, pred: Tensor, target: Tensor) -> Tensor:
    """Values (B,) of a loss of two tensors (B, C, H, W).

    Raises:
        ConfigError: It gives something else: a mean over the batch would weight its samples by their number, and values
            of pixels would be summed. Or what the network gave is not of the target's shape.
    """
    if not isinstance(pred, Tensor) or pred.shape != target.shape:
        found = f"a tensor {tuple(pred.shape)}" if isinstance(pred, Tensor) else f"a {type(pred).__name__}"
        raise ConfigError(
            f"the network gives {found} where {type(loss).__name__} compares it with {tuple(target.shape)}; expected a "
            "tensor of that shape."
        )
    values = loss(pred, target)
    if not isinstance(values, Tensor) or values.shape != pred.shape[:1]:
        found = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else f"a {type(values).__name__}"
        raise ConfigError(
            f"{type(loss).__name__} gives {found} for {len(pred)} samples; expected one value for each, of shape "
            f"({len(pred)},): end with .flatten(1).mean(1)."
        )
    return values
