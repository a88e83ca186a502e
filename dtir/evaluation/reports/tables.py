"""The result of a training or test as a table: on the terminal, and as Markdown, CSV and JSON."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from rich.table import Table

from dtir.core.atomic import atomic_write
from dtir.core.errors import ConfigError
from dtir.evaluation.metrics.base import AVERAGE
from dtir.tasks import averaged_rows, task_of


@dataclass(frozen=True)
class ResultRow:
    """Result on one task; `matched_t` is None for the average or where no step was matched.

    Attributes:
        task: Name of the task, or `<task>@<set>` for a generalisation set.
        matched_t: Matched time step.
        psnr_in: PSNR of the inputs in dB.
        psnr: PSNR of the restored pictures in dB.
        ssim: SSIM of the restored pictures.
        n: Number of pictures, None where it was not counted.
        lpips: LPIPS of the restored pictures, smaller is better; None where it was not measured.
    """

    task: str
    matched_t: int | None
    psnr_in: float
    psnr: float
    ssim: float
    n: int | None = None
    lpips: float | None = None

    @property
    def gain(self) -> float:
        """PSNR gained by restoring, in dB."""
        return self.psnr - self.psnr_in

    def cells(self) -> list[str]:
        """The row as text."""
        t = "-" if self.matched_t is None else str(self.matched_t)
        values = (self.psnr_in, self.psnr, self.ssim, self.gain)
        formats = (".2f", ".2f", ".4f", "+.2f")
        numbers = ["-" if math.isnan(v) else format(v, f) for v, f in zip(values, formats, strict=True)]
        return [self.task, t, *numbers]

    def entry(self) -> dict:
        """The row as plain values for JSON, which has no NaN and no infinity: None in their place."""
        entry = {**asdict(self), "gain": self.gain}
        del entry["task"]
        if self.lpips is None:
            del entry["lpips"]
        return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in entry.items()}


HEADER = ("task", "matched t", "input PSNR", "PSNR", "SSIM", "gain")


def result_rows(
    metrics: Mapping[str, float],
    tasks: Sequence[str],
    matched_t: Sequence[int],
    counts: Mapping[str, int] | None = None,
) -> list[ResultRow]:
    """Rows of the tasks and generalisation sets that were measured, and the tasks' average, from an evaluator's values.

    Args:
        metrics: `<task>/PSNR` or `<task>@<set>/PSNR`, and `<task>/PSNR_LQ`, `<task>/SSIM`, `<task>/LPIPS` where they
            were measured.
        tasks: Names of the model's tasks.
        matched_t: Their matched steps, negative where there is none.
        counts: Pictures per task, as `PictureMetric.counts`.

    Raises:
        ConfigError: No task has a PSNR.
    """
    counts = counts or {}
    steps = {task: t if t >= 0 else None for task, t in zip(tasks, matched_t, strict=True)}
    rows = [
        ResultRow(name, steps[task_of(name)], *_measured(metrics, name), counts.get(name), metrics.get(f"{name}/LPIPS"))
        for name in _measured_rows(metrics, list(tasks))
    ]
    if not rows:
        raise ConfigError(
            f"no PSNR of any of the tasks {', '.join(tasks)}: put dict(type='PSNR'), dict(type='SSIM') and "
            "dict(type='InputPSNR') in val_evaluator and test_evaluator."
        )
    averaged = set(averaged_rows(row.task for row in rows))
    chosen = [row for row in rows if row.task in averaged]
    means = [fmean(getattr(row, name) for row in chosen) for name in ("psnr_in", "psnr", "ssim")]
    pictures = sum(counts.get(row.task, 0) for row in chosen) or None
    lpips = [row.lpips for row in chosen if row.lpips is not None]
    mean_lpips = fmean(lpips) if len(lpips) == len(chosen) else None
    return [*rows, ResultRow(AVERAGE, None, *means, pictures, mean_lpips)]


def _measured_rows(metrics: Mapping[str, float], tasks: list[str]) -> list[str]:
    """Names of rows in the order of the tasks, each task's generalisation sets after it."""
    names = [key.removesuffix("/PSNR") for key in metrics if key.endswith("/PSNR")]
    return sorted(
        (name for name in names if task_of(name) in tasks), key=lambda name: (tasks.index(task_of(name)), name)
    )


def _measured(metrics: Mapping[str, float], task: str) -> list[float]:
    return [metrics.get(f"{task}/{name}", math.nan) for name in ("PSNR_LQ", "PSNR", "SSIM")]


def rich_table(rows: Sequence[ResultRow], title: str) -> Table:
    """The rows as a table for the terminal."""
    table = Table(title=title)
    for name in HEADER:
        table.add_column(name, justify="left" if name == "task" else "right")
    for row in rows:
        if row.task == AVERAGE:
            table.add_section()
        table.add_row(*row.cells())
    return table


def write_results(folder: str | Path, rows: Sequence[ResultRow], title: str, protocol: str) -> None:
    """Writes `results.md`, `results.csv` and `results.json`, each atomically.

    The JSON is `{protocol, tasks: {name: {matched_t, psnr_in, psnr, ssim, n, gain}}, average: {...}}`, with `lpips`
    where it was measured.

    Args:
        folder: Where to write.
        rows: From `result_rows`.
        title: Heading of the Markdown table; should name the protocol.
        protocol: Name of the measuring protocol.
    """
    folder = Path(folder)
    lines = [f"# {title}", "", f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    lines += [f"| {' | '.join(row.cells())} |" for row in rows]
    with atomic_write(folder / "results.md", "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    with atomic_write(folder / "results.csv", "w", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADER, *(row.cells() for row in rows)])
    entries = {row.task: row.entry() for row in rows}
    average = entries.pop(AVERAGE)
    with atomic_write(folder / "results.json", "w", encoding="utf-8") as file:
        json.dump({"protocol": protocol, "tasks": entries, "average": average}, file, indent=1)
