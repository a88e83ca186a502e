"""Which task was taken for which."""

import csv
from collections.abc import Sequence
from pathlib import Path

from dtir.core.atomic import atomic_write
from dtir.evaluation.render.sheet import save_sheet
from dtir.evaluation.render.svg import matrix


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
    rows = [
        (task, [(str(number), number / max(sum(row), 1)) for number in row])
        for task, row in zip(tasks, counts, strict=True)
    ]
    right = sum(row[k] for k, row in enumerate(counts))
    title = f"Blind task (true in rows, estimated in columns): {right} of {sum(map(sum, counts))} pictures right"
    save_sheet(folder / "confusion.png", [matrix(title, tasks, rows)])
