"""Which task was taken for which."""

import csv
from collections.abc import Sequence
from pathlib import Path

from dtir.core.atomic import atomic_write
from dtir.evaluation.reports.canvas import new_figure, save_figure


def write_confusion(folder: str | Path, counts: Sequence[Sequence[int]], tasks: Sequence[str]) -> None:
    """Writes `confusion.csv` and `confusion.png`, each atomically.

    Args:
        folder: Where to write.
        counts: Pictures by true task (rows) and estimated task (columns).
        tasks: Their names.
    """
    folder = Path(folder)
    with atomic_write(folder / "confusion.csv", "w", encoding="utf-8") as file:
        rows = ([task, *row] for task, row in zip(tasks, counts, strict=True))
        csv.writer(file, lineterminator="\n").writerows([["task", *tasks], *rows])
    shares = [[n / max(sum(row), 1) for n in row] for row in counts]
    figure = new_figure(2.5 + 0.6 * len(tasks), 2 + 0.5 * len(tasks))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(tasks)), tasks, rotation=35, ha="right", fontsize=8)
    axes.set_yticks(range(len(tasks)), tasks, fontsize=8)
    axes.set_xlabel("estimated", fontsize=9)
    axes.set_ylabel("true", fontsize=9)
    for i, row in enumerate(counts):
        for j, n in enumerate(row):
            axes.text(
                j, i, str(n), ha="center", va="center", fontsize=8, color="white" if shares[i][j] > 0.5 else "black"
            )
    right = sum(row[k] for k, row in enumerate(counts))
    axes.set_title(f"blind task: {right} of {sum(map(sum, counts))} pictures right", fontsize=9)
    save_figure(figure, folder / "confusion.png")
