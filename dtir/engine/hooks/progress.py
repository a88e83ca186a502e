"""Live progress bars with ETAs on a terminal."""

import logging
import sys

from mmengine.dist import get_rank
from rich.console import Console
from rich.file_proxy import FileProxy
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dtir.core.stage_hook import StageHook
from dtir.registry import HOOKS


@HOOKS.register_module()
class ProgressHook(StageHook):
    """One bar for the present stage and one for the whole training, above which log lines scroll; one more for what is
    estimated before a stage.

    Shown by the first process on an interactive terminal only; elsewhere the ETAs are in the log lines.
    """

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.estimates: dict[str, TaskID] = {}

    def before_train(self, runner) -> None:
        """Starts the bars."""
        console = Console(file=sys.stderr)
        if get_rank() != 0 or not console.is_terminal:
            return
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            console=console,
        )
        self._redirect_log(runner, FileProxy(console, sys.stderr))
        self.stage_bar = self.progress.add_task("stage", total=None)
        self.total_bar = self.progress.add_task("all stages", total=runner.max_iters, completed=runner.iter)
        self.progress.start()

    def before_stage(self, runner, stage, fresh: bool) -> None:
        """Restarts the stage's bar."""
        if self.progress is not None:
            name = f"stage {stage.index + 1}/{len(runner.train_loop.plan)} {stage.name}"
            done = runner.train_loop.local_iter
            self.progress.reset(self.stage_bar, total=stage.settings.iters, completed=done, description=name)

    def on_estimate(self, runner, what: str, done: int, total: int) -> None:
        """Shows what is estimated, until all of it is done."""
        if self.progress is None:
            return
        if what not in self.estimates:
            self.estimates[what] = self.progress.add_task(what, total=total)
        self.progress.update(self.estimates[what], completed=done)
        if done == total:
            self.progress.remove_task(self.estimates.pop(what))

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Advances both bars."""
        if self.progress is not None:
            self.progress.advance(self.stage_bar)
            self.progress.advance(self.total_bar)

    def close(self, runner) -> None:
        """Gives the terminal back, after an error too."""
        if self.progress is not None:
            self.progress.stop()
            self._redirect_log(runner, sys.stderr)
            self.progress = None

    @staticmethod
    def _redirect_log(runner, stream) -> None:
        for handler in runner.logger.handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                handler.setStream(stream)
