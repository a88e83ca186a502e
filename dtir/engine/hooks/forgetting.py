"""The forgetting matrix: every task after every stage."""

from pathlib import Path

from mmengine.dist import get_rank
from mmengine.hooks import Hook

from dtir.evaluation.reports.forgetting import write_forgetting
from dtir.registry import HOOKS


@HOOKS.register_module()
class ForgettingHook(Hook):
    """Writes `report/forgetting.{md,csv,png}`: the PSNR of every task after every stage that ends with a validation.

    A stage does so with `validate=True`. The matrix is kept in the checkpoint, so that a resumed run goes on with it.
    """

    priority = "LOW"

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, float]] = {}

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Adds a row if a stage has just ended."""
        loop = runner.train_loop
        if loop.stage is None or runner.iter != loop.stage.end:
            return
        tasks = runner.model.tasks
        self.stages[loop.stage.name] = {
            task: float(metrics[f"{task}/PSNR"]) for task in tasks if f"{task}/PSNR" in metrics
        }
        if get_rank() == 0:
            protocol = runner.val_evaluator.metrics[0].protocol.name
            title = f"{runner.model_name} after each stage, protocol '{protocol}'"
            write_forgetting(Path(runner.work_dir) / "report", self.stages, tasks, title)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keeps the matrix in the checkpoint."""
        checkpoint["forgetting"] = self.stages

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Takes the matrix back when a run is resumed."""
        if runner._resume:
            self.stages = dict(checkpoint.get("forgetting", {}))
