"""Sums of losses."""

from collections.abc import Sequence

from torch import Tensor, nn

from dtir.core.errors import ConfigError
from dtir.registry import LOSSES

from .samples import per_sample


@LOSSES.register_module()
class WeightedLosses(nn.Module):
    """The weighted sum of several losses.

    Args:
        losses: Configs of losses.
        weights: One per loss; 1 for all by default.

    Raises:
        ConfigError: No loss is given, or not one weight per loss.
    """

    def __init__(self, losses: Sequence[dict], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.weights = [1.0] * len(losses) if weights is None else list(weights)
        if not losses or len(self.weights) != len(losses):
            raise ConfigError(
                f"WeightedLosses: {len(losses)} losses and weights {self.weights}; name at least one loss, such as "
                "dict(type='L1Loss'), and a weight for each or none."
            )
        self.parts = nn.ModuleList(LOSSES.build(loss) for loss in losses)

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Loss (B,) of each sample."""
        return sum(
            weight * per_sample(part, pred, target) for weight, part in zip(self.weights, self.parts, strict=True)
        )
