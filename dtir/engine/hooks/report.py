"""Results after each validation: table, files, and a panel of pictures."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from mmengine.dist import all_gather_object, get_rank
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop
from rich.console import Console
from torch import Tensor

from dtir.core.errors import ConfigError
from dtir.core.ranges import PositiveInt
from dtir.engine.hooks.testing import on_published_sets
from dtir.evaluation.metrics.functional import psnr, to_8_bit
from dtir.evaluation.render import terminal_table
from dtir.evaluation.reports.charts import plot_learning_curves
from dtir.evaluation.reports.panels import PanelRow, save_panel
from dtir.evaluation.reports.pictures import ReportPicture, save_pictures
from dtir.evaluation.reports.run.facts import run_facts, write_run_facts
from dtir.evaluation.reports.tables import result_grid, write_results
from dtir.evaluation.results import ResultTable, result_table
from dtir.registry import HOOKS
from dtir.tasks import task_of


@HOOKS.register_module()
class ReportHook(Hook):
    """Writes `report/` into the work folder after each validation and test: `results.{md,csv,json}`, `panel.png`,
    `pictures/`, and in a training `learning_curves.png` and `run.json`.

    The panel shows the first picture of each task: LQ | restored | GT; in a resumed test, the first of those that were
    left. The last table is also printed when a run ends.
    Whatever the evaluator measures is in the table; with PSNR and InputPSNR, the gain as well. `dtir report` makes one
    page of all this.

    Args:
        num_pictures: Pictures per task that are kept in `pictures/`, at least 1.

    Raises:
        ConfigError: `num_pictures` is under 1.
    """

    priority = "LOW"

    def __init__(self, num_pictures: PositiveInt = 2) -> None:
        if num_pictures < 1:
            raise ConfigError(f"ReportHook: num_pictures={num_pictures} must be at least 1; the panel shows one.")
        self.num_pictures = num_pictures
        self.samples: dict[str, list[ReportPicture]] = {}
        self.table: ResultTable | None = None

    def before_val_epoch(self, runner) -> None:
        """Starts a new collection."""
        self.samples = {}

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Keeps the first pictures of each task."""
        for sample in outputs:
            kept = self.samples.setdefault(sample["task_name"], [])
            if len(kept) < self.num_pictures:
                kept.append(_shown(sample))

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Writes the report."""
        self._report(runner, metrics, runner.val_evaluator)

    def after_test_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Writes the report."""
        self._report(runner, metrics, runner.test_evaluator)

    def _report(self, runner, metrics: dict[str, float], evaluator: Evaluator) -> None:
        gathered = all_gather_object(self.samples)
        if get_rank() != 0:
            return
        names = dict.fromkeys(name for part in gathered for name in part)
        pictures = {
            name: [picture for part in gathered for picture in part.get(name, [])][: self.num_pictures]
            for name in names
        }
        self._write(runner, metrics, pictures, evaluator.metrics)

    before_test_epoch = before_val_epoch
    after_test_iter = after_val_iter

    def after_run(self, runner) -> None:
        """Prints the last table and where the files are."""
        if self.table and get_rank() == 0:
            folder = Path(runner.work_dir)
            console = Console()
            console.print(terminal_table(result_grid(self.table)))
            for name in ("report/panel.png", "report/results.md", "report/learning_curves.png", "matching/curves.png"):
                if (folder / name).is_file():
                    console.print(f"{name:26} {folder / name}", soft_wrap=True)

    def _write(
        self, runner, values: dict[str, float], pictures: dict[str, list[ReportPicture]], metrics: list[BaseMetric]
    ) -> None:
        tasks, steps = runner.model.tasks, runner.model.matched_t.tolist()
        training = isinstance(runner._train_loop, BaseLoop)
        table = result_table("", metrics, values, tasks, steps)
        measured = table.tasks
        number = len({task_of(row) for row in measured})
        iteration = f" at iteration {runner.iter}" if training else ""
        title = f"{runner.model_name} on {number} tasks{iteration}, protocol '{table.protocol}'"
        loader = runner.val_dataloader if training else runner.test_dataloader
        self.table = replace(table, title=title, on_published_sets=on_published_sets(loader.dataset))
        folder = Path(runner.work_dir) / "report"
        write_results(folder, self.table)
        shown = [pictures[task] for task in measured if task in pictures]
        if shown:
            save_panel(folder / "panel.png", [_panel_row(kept[0]) for kept in shown])
            save_pictures(folder / "pictures", [picture for kept in shown for picture in kept])
        if training:
            write_run_facts(folder, run_facts(runner))
            logs = sorted(Path(runner.work_dir).glob("*/vis_data/scalars.json"))
            lines = [json.loads(line) for log in logs for line in log.read_text(encoding="utf-8").splitlines()]
            # A run without a visualizer backend of files has none.
            if lines:
                plot_learning_curves(folder / "learning_curves.png", lines)


def _shown(sample: dict) -> ReportPicture:
    gt = sample["gt"][None] / 255
    lq, pred = sample["lq"][None] / 255, to_8_bit(sample["pred"][None].cpu())
    return ReportPicture(
        task=sample["task_name"],
        name=sample["name"],
        psnr_lq=psnr(lq, gt).item(),
        psnr=psnr(pred, gt).item(),
        lq=sample["lq"].permute(1, 2, 0).numpy(),
        restored=_to_uint8(sample["pred"].cpu()),
        gt=sample["gt"].permute(1, 2, 0).numpy(),
    )


def _to_uint8(picture: Tensor) -> np.ndarray:
    return (picture * 255).round().byte().permute(1, 2, 0).numpy()


def _panel_row(picture: ReportPicture) -> PanelRow:
    before, after = picture.psnr_lq, picture.psnr
    labels = [f"{picture.task}: LQ {before:.2f} dB", f"restored {after:.2f} dB ({after - before:+.2f})", "GT"]
    return PanelRow([picture.lq, picture.restored, picture.gt], labels)
