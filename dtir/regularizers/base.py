"""What plugs into training from outside: a regularizer."""

from collections.abc import Mapping, Sequence

from mmengine.hooks import Hook
from torch import Tensor, nn

from dtir.core.errors import ConfigError


class Regularizer(Hook):
    """A hook that shapes training through the loop's stage points; neither the loop nor the restorer knows its kind.

    Subclasses are registered in `REGULARIZERS`, named in `train_cfg.regularizers`, and override what they need.

    Attributes:
        key: Key of the regularizer's state in the checkpoint, or None if it has no state.
        needs_loss_gradients: Whether `gradient_policy` is wanted; the loop then takes one backward pass per loss.
    """

    key: str | None = None
    needs_loss_gradients: bool = False

    def before_stage(self, runner, stage, fresh: bool) -> None:
        """A stage begins.

        Args:
            runner: The runner.
            stage: The `ScheduledStage`.
            fresh: False where a resumed run comes back into the middle of the stage; state that the stage's start
                computed is then already loaded and must not be computed anew.
        """

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

    def after_loss(self, runner, losses: dict[str, Tensor]) -> None:
        """The losses of a (micro-)batch are known; terms (scalars, summed for the backward) may be added."""

    def gradient_policy(self, runner, loss_gradients: Mapping[str, Sequence[Tensor]]) -> None:
        """Changes the losses' gradients in place, reduced over all processes and unscaled, before they are summed.

        Called only in runs in which a regularizer sets `needs_loss_gradients`.

        Args:
            runner: The runner.
            loss_gradients: Per loss name its gradients, in the order of `runner.train_loop.trainable_parameters`.
        """

    def before_optim_step(self, runner) -> None:
        """`p.grad` is the total, reduced and unscaled, not yet clipped; analytic gradients may be added to it."""

    def after_stage(self, runner, stage) -> None:
        """A stage has run to its end."""

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
        """Loads the state from `key` when a run is resumed."""
        if self.key is not None and self.key in checkpoint:
            self.load_state_dict(checkpoint[self.key])
