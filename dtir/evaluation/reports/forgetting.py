"""What a training stage does to the tasks of earlier ones: every task after every stage."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from dtir.core.atomic import atomic_write
from dtir.evaluation.reports.canvas import new_figure, save_figure

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
    cells = [[name, *("-" if math.isnan(v) else f"{v:.2f}" for v in values)] for name, *values in rows]
    header = ["stage", *tasks]
    lines = [f"# {title}", "", f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [f"| {' | '.join(row)} |" for row in cells]
    with atomic_write(folder / "forgetting.md", "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    with atomic_write(folder / "forgetting.csv", "w", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *cells])
    _draw(folder / "forgetting.png", stages, tasks, title)


def _draw(path: Path, stages: Mapping[str, Mapping[str, float]], tasks: Sequence[str], title: str) -> None:
    """Each task against its own best: 0 is the best it has been, negative what is lost or not yet learned, in dB."""
    best = {task: max((row[task] for row in stages.values() if task in row), default=math.nan) for task in tasks}
    values = [[row.get(task, math.nan) - best[task] for task in tasks] for row in stages.values()]
    figure = new_figure(2.5 + 0.75 * len(tasks), 1.6 + 0.4 * len(stages))
    axes = figure.subplots()
    image = axes.imshow(values, cmap="viridis", aspect="auto", vmax=0)
    axes.set_xticks(range(len(tasks)), tasks, rotation=35, ha="right", fontsize=8)
    axes.set_yticks(range(len(stages)), list(stages), fontsize=8)
    for i, row in enumerate(stages.values()):
        for j, task in enumerate(tasks):
            if task in row:
                # The colours of the upper half are too light for white.
                color = "black" if image.norm(values[i][j]) > 0.5 else "white"
                axes.text(j, i, f"{row[task]:.1f}", ha="center", va="center", fontsize=7, color=color)
    axes.set_title(f"{title}: PSNR in dB", fontsize=9)
    figure.colorbar(image, label="against the task's best, dB")
    save_figure(figure, path)
