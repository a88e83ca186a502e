"""When checkpoints are written, which are kept, and which is the best."""

from pathlib import Path

from mmengine.dist import barrier, get_rank, master_only
from mmengine.runner import BaseLoop

from dtir.core.atomic import atomic_write
from dtir.core.checkpoint import LAST_CHECKPOINT
from dtir.core.errors import ConfigError
from dtir.core.ranges import PositiveInt
from dtir.core.stage_hook import StageHook
from dtir.evaluation.metrics.base import AVERAGE, PictureMetric
from dtir.registry import HOOKS

DEFAULT_BEST = "average/PSNR"


@HOOKS.register_module()
class AtomicCheckpointHook(StageHook):
    """Writes `iter_N.pth` at an interval, at the end of every stage, and where a hook stops the training; then prunes
    older ones.

    A new checkpoint is complete before `last_checkpoint` names it and before an old one goes, so that a run killed at
    any moment finds a whole checkpoint. A validation that improves `save_best` writes `best_<metric>_iter_N.pth`.

    Args:
        interval: Iterations between checkpoints.
        max_keep: Number of `iter_N.pth` files kept.
        save_best: Metric whose best value, by the metric's own direction, marks the best checkpoint, or None:
            "average/LPIPS", or "hazy/PSNR" of one task. Where the validation does not measure the default, none is
            kept.

    Raises:
        ConfigError: As a training starts: the validation has no such metric.
    """

    priority = "VERY_LOW"

    def __init__(
        self, interval: PositiveInt = 1000, max_keep: PositiveInt = 2, save_best: str | None = DEFAULT_BEST
    ) -> None:
        self.interval = interval
        self.max_keep = max_keep
        self.save_best = self.key = save_best
        self.best = {"value": float("-inf"), "file": ""}
        self.sign = 1

    def before_train(self, runner) -> None:
        """Finds the metric that marks the best checkpoint."""
        if self.save_best is None or runner.val_loop is None:
            return
        metrics = runner.val_loop.evaluator.metrics
        own = {metric.label: metric for metric in metrics if isinstance(metric, PictureMetric)}
        row, _, label = self.save_best.partition("/")
        if label in own:
            metric = own[label]
            # A validation's values have a prefix in front of the row.
            self.key = f"{metric.prefix}/{row}/{metric.name}" if metric.prefix else self.save_best
            # The best value is kept as one of which more is better.
            self.sign = -1 if metric.higher_is_better is False else 1
        known = [f"{AVERAGE}/{name}" for name in own]
        rows = (AVERAGE, *runner.model.tasks)
        if len(own) == len(metrics) and self.save_best != DEFAULT_BEST and not (label in own and row in rows):
            raise ConfigError(
                f"default_hooks.checkpoint.save_best is {self.save_best!r}; expected None or a value of val_evaluator: "
                f"{', '.join(known)}, or that of a task in place of {AVERAGE}."
            )

    def after_step(self, runner, stage) -> None:
        """Saves when due."""
        if runner.iter % self.interval == 0 or runner.iter == stage.end or runner.train_loop.stop_training:
            name = f"iter_{runner.iter}.pth"
            runner.save_checkpoint(runner.work_dir, name)
            self._note_last(runner, name)
            barrier()

    @master_only
    def _note_last(self, runner, name: str) -> None:
        out = Path(runner.work_dir)
        with atomic_write(out / LAST_CHECKPOINT, "w", encoding="utf-8") as file:
            file.write(name)
        saved = sorted(out.glob("iter_*.pth"), key=lambda path: int(path.stem.removeprefix("iter_")))
        older = [path for path in saved if int(path.stem.removeprefix("iter_")) <= runner.iter]
        for path in older[: -self.max_keep]:
            path.unlink()

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Saves the best checkpoint when a validation during training improves on it."""
        value = (metrics or {}).get(self.key) if self.key else None
        trains = isinstance(runner._train_loop, BaseLoop)
        if value is None or not trains or self.sign * value <= self.best["value"]:
            return
        previous = self.best["file"]
        name = f"best_{self.save_best.replace('/', '_')}_iter_{runner.iter}.pth"
        self.best = {"value": self.sign * float(value), "file": name}
        runner.save_checkpoint(runner.work_dir, name)
        if get_rank() == 0 and previous and previous != name:
            (Path(runner.work_dir) / previous).unlink(missing_ok=True)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keeps the best value, so that a resumed run compares with it."""
        checkpoint["meta"]["best"] = dict(self.best)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Takes the best value back when a run is resumed."""
        if runner._resume and "best" in checkpoint.get("meta", {}):
            self.best = dict(checkpoint["meta"]["best"])
