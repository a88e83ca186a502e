"""What shapes the training from outside of the network."""

from torch import Tensor

from dtir.core.ranges import NonNegative
from dtir.core.stage_hook import TrainStep
from dtir.registry import REGULARIZERS
from dtir.regularizers import Regularizer


@REGULARIZERS.register_module()
class MySmallWeights(Regularizer):
    """Adds the mean square of the weights of every layer to the loss.

    Args:
        weight: Factor of the term.
    """

    def __init__(self, weight: NonNegative = 1e-3) -> None:
        self.weight = weight

    def after_loss(self, runner, step: TrainStep, losses: dict[str, Tensor]) -> None:
        """Adds a scalar; its name appears in the log."""
        weights = [p for p in runner.train_loop.trainable_parameters if p.ndim > 1]
        losses["loss_small_weights"] = self.weight * sum(w.square().mean() for w in weights) / len(weights)
