"""The result of a training or test as a table: on the terminal, and as Markdown, CSV and JSON."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from rich.table import Table

from dtir.evaluation.metrics.base import AVERAGE
from dtir.utils.atomic import atomic_write


@dataclass(frozen=True)
class ResultRow:
    """Result on one task; `matched_t` is None for the average or where no step was matched.

    Attributes:
        task: Name of the task.
        matched_t: Matched time step.
        psnr_lq: PSNR of the inputs in dB.
        psnr: PSNR of the restored pictures in dB.
        ssim: SSIM of the restored pictures.
    """

    task: str
    matched_t: int | None
    psnr_lq: float
    psnr: float
    ssim: float

    @property
    def gain(self) -> float:
        """PSNR gained by restoring, in dB."""
        return self.psnr - self.psnr_lq

    def cells(self) -> list[str]:
        """The row as text."""
        t = "-" if self.matched_t is None else str(self.matched_t)
        return [self.task, t, f"{self.psnr_lq:.2f}", f"{self.psnr:.2f}", f"{self.ssim:.4f}", f"{self.gain:+.2f}"]


HEADER = ("task", "matched t", "input PSNR", "PSNR", "SSIM", "gain")


def result_rows(metrics: dict[str, float], tasks: Sequence[str], matched_t: Sequence[int]) -> list[ResultRow]:
    """Rows of the tasks that were measured, and their average, from an evaluator's values.

    Args:
        metrics: `<task>/PSNR_LQ`, `<task>/PSNR`, `<task>/SSIM`.
        tasks: Names of the model's tasks.
        matched_t: Their matched steps, negative where there is none.
    """
    rows = [
        ResultRow(
            task,
            t if t >= 0 else None,
            *(metrics.get(f"{task}/{name}", math.nan) for name in ("PSNR_LQ", "PSNR", "SSIM")),
        )
        for task, t in zip(tasks, matched_t, strict=True)
        if f"{task}/PSNR" in metrics
    ]
    means = [fmean(getattr(row, name) for row in rows) for name in ("psnr_lq", "psnr", "ssim")]
    return [*rows, ResultRow(AVERAGE, None, *means)]


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

    Args:
        folder: Where to write.
        rows: From `result_rows`.
        title: Heading of the Markdown table.
        protocol: Name of the measuring protocol.
    """
    folder = Path(folder)
    lines = [f"# {title}", "", f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    lines += [f"| {' | '.join(row.cells())} |" for row in rows]
    with atomic_write(folder / "results.md", "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    with atomic_write(folder / "results.csv", "w", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADER, *(row.cells() for row in rows)])
    entries = {row.task: _finite({**asdict(row), "gain": row.gain}) for row in rows}
    with atomic_write(folder / "results.json", "w", encoding="utf-8") as file:
        json.dump({"protocol": protocol, "results": entries}, file, indent=1)


def _finite(entry: dict) -> dict:
    # JSON has no NaN and no infinity.
    return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in entry.items()}
