"""Results after each validation: table, files, and a panel of pictures."""

import json
from pathlib import Path

import numpy as np
from mmengine.dist import all_gather_object, get_rank
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop
from rich.console import Console
from torch import Tensor

from dtir.evaluation.metrics import PictureMetric
from dtir.evaluation.metrics.functional import psnr, to_8_bit
from dtir.evaluation.reports.curves import plot_learning_curves
from dtir.evaluation.reports.panels import PanelRow, save_panel
from dtir.evaluation.reports.tables import ResultRow, result_rows, rich_table, write_results
from dtir.registry import HOOKS
from dtir.tasks import task_of


@HOOKS.register_module()
class ReportHook(Hook):
    """Writes `report/` into the work folder after each validation and test: `results.{md,csv,json}`, `panel.png`, and
    `learning_curves.png`.

    The panel shows the first picture of each task: LQ | restored | GT; in a resumed test, the first of those that were
    left. The last table is also printed when a run ends.
    Needs the metrics PSNR, SSIM and InputPSNR in the evaluator.
    """

    priority = "LOW"

    def __init__(self) -> None:
        self.samples: dict[str, dict] = {}
        self.rows: list[ResultRow] = []
        self.title = ""

    def before_val_epoch(self, runner) -> None:
        """Starts a new collection."""
        self.samples = {}

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Keeps the first picture of each task."""
        for sample in outputs:
            self.samples.setdefault(sample["task_name"], _shown(sample))

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
        samples = {task: sample for part in reversed(gathered) for task, sample in part.items()}
        self._write(runner, metrics, samples, evaluator.metrics[0])

    before_test_epoch = before_val_epoch
    after_test_iter = after_val_iter

    def after_run(self, runner) -> None:
        """Prints the last table and where the files are."""
        if self.rows and get_rank() == 0:
            folder = Path(runner.work_dir)
            console = Console()
            console.print(rich_table(self.rows, self.title))
            for name in ("report/panel.png", "report/results.md", "report/learning_curves.png", "matching/curves.png"):
                if (folder / name).is_file():
                    console.print(f"{name:26} {folder / name}", soft_wrap=True)

    def _write(self, runner, metrics: dict[str, float], samples: dict, metric: PictureMetric) -> None:
        tasks, steps = runner.model.tasks, runner.model.matched_t.tolist()
        training = isinstance(runner._train_loop, BaseLoop)
        iteration = f" at iteration {runner.iter}" if training else ""
        self.rows = result_rows(metrics, tasks, steps, metric.counts)
        measured = [row.task for row in self.rows[:-1]]
        number = len({task_of(row) for row in measured})
        self.title = f"{runner.model_name} on {number} tasks{iteration}, protocol '{metric.protocol.name}'"
        folder = Path(runner.work_dir) / "report"
        write_results(folder, self.rows, self.title, metric.protocol.name)
        if samples:
            save_panel(folder / "panel.png", [_panel_row(task, samples[task]) for task in measured if task in samples])
        if training:
            logs = sorted(Path(runner.work_dir).glob("*/vis_data/scalars.json"))
            lines = [json.loads(line) for log in logs for line in log.read_text(encoding="utf-8").splitlines()]
            plot_learning_curves(folder / "learning_curves.png", lines)


def _shown(sample: dict) -> dict:
    gt = sample["gt"][None] / 255
    lq, pred = sample["lq"][None] / 255, to_8_bit(sample["pred"][None].cpu())
    return {
        "lq": sample["lq"].permute(1, 2, 0).numpy(),
        "pred": _to_uint8(sample["pred"].cpu()),
        "gt": sample["gt"].permute(1, 2, 0).numpy(),
        "psnr": [psnr(lq, gt).item(), psnr(pred, gt).item()],
    }


def _to_uint8(picture: Tensor) -> np.ndarray:
    return (picture * 255).round().byte().permute(1, 2, 0).numpy()


def _panel_row(task: str, sample: dict) -> PanelRow:
    before, after = sample["psnr"]
    labels = [f"{task}: LQ {before:.2f} dB", f"restored {after:.2f} dB ({after - before:+.2f})", "GT"]
    return PanelRow([sample["lq"], sample["pred"], sample["gt"]], labels)
