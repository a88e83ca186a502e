"""What happens at points of the training that is no loss and no gradient."""

from mmengine.hooks import Hook

from dtir.registry import HOOKS


@HOOKS.register_module()
class MyStageNorms(Hook):
    """Writes the norm of all weights into the log when a stage has ended."""

    def after_stage(self, runner, stage) -> None:
        """Called by the loop; see docs/training.md for all points."""
        norm = sum(float(p.detach().square().sum()) for p in runner.model.parameters()) ** 0.5
        runner.logger.info(f"norm of the weights after stage '{stage.name}': {norm:.2f}")
