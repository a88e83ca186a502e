"""What a training stage does to the tasks of earlier ones: every task after every stage."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from dtir.core.atomic import atomic_write
from dtir.evaluation.measures import NOT_MEASURED
from dtir.evaluation.render import Grid, markdown_table
from dtir.evaluation.render.sheet import save_sheet
from dtir.evaluation.render.svg import matrix

FORGOTTEN = "forgotten"


def forgotten(stages: Mapping[str, Mapping[str, float]], task: str) -> float:
    """How far a task's last value is below its best one, not negative; NaN without any (Chaudhry et al., ECCV 2018)."""
    values = [row[task] for row in stages.values() if task in row]
    return max(values) - values[-1] if values else math.nan


def write_forgetting(
    folder: str | Path, stages: Mapping[str, Mapping[str, float]], tasks: Sequence[str], title: str
) -> None:
    """Writes `forgetting.md`, `forgetting.csv` and `forgetting.png`, each atomically.

    Args:
        folder: Where to write.
        stages: PSNR in dB by stage, in order, and by task.
        tasks: Names of the tasks, in the order of the columns.
        title: Heading; should name the protocol.
    """
    folder = Path(folder)
    rows = [[name, *(row.get(task, math.nan) for task in tasks)] for name, row in stages.items()]
    rows.append([FORGOTTEN, *(forgotten(stages, task) for task in tasks)])
    cells = [[name, *(NOT_MEASURED if math.isnan(v) else f"{v:.2f}" for v in values)] for name, *values in rows]
    grid = Grid(["stage", *tasks], cells, title)
    with atomic_write(folder / "forgetting.md", "w", encoding="utf-8") as file:
        file.write(f"# {title}\n\n{markdown_table(grid)}\n")
    with atomic_write(folder / "forgetting.csv", "w", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([grid.header, *grid.rows])
    drawn = [
        (stage, [_cell(row.get(task), share) for task, share in zip(tasks, shares, strict=True)])
        for (stage, row), shares in zip(stages.items(), shares_lost(stages, tasks), strict=True)
    ]
    save_sheet(
        folder / "forgetting.png", [matrix(f"{title}: PSNR in dB; darker: further below its best", tasks, drawn)]
    )


def shares_lost(stages: Mapping[str, Mapping[str, float]], tasks: Sequence[str]) -> list[list[float]]:
    """How far each value is below its task's best, in shares of the largest such loss: (stages, tasks), in [0, 1]."""
    best = {task: max((row[task] for row in stages.values() if task in row), default=0) for task in tasks}
    losses = [[best[task] - row.get(task, best[task]) for task in tasks] for row in stages.values()]
    worst = max((loss for row in losses for loss in row), default=0) or 1
    return [[loss / worst for loss in row] for row in losses]


def _cell(value: float | None, share: float) -> tuple[str, float]:
    return (NOT_MEASURED, 0.0) if value is None else (f"{value:.2f}", share)
