"""Which experts of the adapters each task uses."""

import csv
from collections.abc import Sequence
from pathlib import Path

from dtir.core.atomic import atomic_write
from dtir.evaluation.reports.canvas import new_figure, save_figure


def write_expert_use(folder: str | Path, shares: Sequence[Sequence[Sequence[float]]], tasks: Sequence[str]) -> None:
    """Writes `experts.csv` and `experts.png`, each atomically.

    Args:
        folder: Where to write.
        shares: Of each adapter, shallow to deep, the share of every expert by task: (adapters, tasks, experts).
        tasks: Names of the tasks.
    """
    folder = Path(folder)
    experts = [f"expert {k}" for k in range(len(shares[0][0]))]
    with atomic_write(folder / "experts.csv", "w", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["adapter", "task", *experts])
        for place, table in enumerate(shares):
            writer.writerows([place, task, *(f"{v:.4f}" for v in row)] for task, row in zip(tasks, table, strict=True))
    figure = new_figure(2 + 0.28 * len(shares) * len(experts) ** 0.5, 1.5 + 0.45 * len(tasks))
    axes = figure.subplots()
    joined = [[v for table in shares for v in table[k]] for k in range(len(tasks))]
    axes.imshow(joined, cmap="magma", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    for place in range(1, len(shares)):
        axes.axvline(place * len(experts) - 0.5, color="gray", linewidth=0.5)
    axes.set_yticks(range(len(tasks)), tasks, fontsize=8)
    centres = [(place + 0.5) * len(experts) - 0.5 for place in range(len(shares))]
    axes.set_xticks(centres, range(len(shares)), fontsize=6)
    axes.set_xlabel("adapter, shallow to deep; its experts side by side", fontsize=9)
    axes.set_title("share of each expert by task", fontsize=9)
    save_figure(figure, folder / "experts.png")
