"""What plugs into training from outside: a regularizer."""

from torch import nn

from dtir.core.errors import ConfigError
from dtir.core.stage_hook import StageHook, TrainStep


class Regularizer(StageHook):
    """A hook that shapes training through the loop's stage points; neither the loop nor the restorer knows its kind.

    Subclasses are registered in `REGULARIZERS`, named in `train_cfg.regularizers`, and override what they need. What
    they compute has to be a function of the whole step's samples, so that neither processes nor micro-batches matter.

    Attributes:
        key: Key of the regularizer's state in the checkpoint, or None if it has no state.
        needs_loss_gradients: Whether `gradient_policy` is wanted; the loop then takes one backward pass per loss.
    """

    key: str | None = None
    needs_loss_gradients: bool = False

    def previews(self, step: TrainStep) -> bool:
        """Whether `preview_loss` is wanted where a step has several micro-batches.

        Each of them then takes one more forward pass, before the first is used: for terms whose gradient at one sample
        depends on all samples of the step.
        """
        return False

    def network_of(self, runner) -> nn.Module:
        """The model's time-conditioned network.

        Raises:
            ConfigError: The model has none.
        """
        network = getattr(runner.model, "network", None)
        if network is None:
            raise ConfigError(
                f"train_cfg.regularizers: {type(self).__name__} needs a model with a time-conditioned network, a "
                f"DiffusionRestorer; {type(runner.model).__name__} has none."
            )
        return network

    def state_dict(self) -> dict:
        """State for the checkpoint: CPU tensors and plain types."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Takes back what `state_dict` gave."""

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Adds the state under `key`."""
        if self.key is not None:
            checkpoint[self.key] = self.state_dict()

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Loads the state from `key` where a run is resumed; weights of another run (`load_from`) start without it."""
        if self.key is not None and runner._resume and self.key in checkpoint:
            self.load_state_dict(checkpoint[self.key])
