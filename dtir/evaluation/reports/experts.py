"""Which experts of the adapters each task uses."""

import csv
from collections.abc import Sequence
from pathlib import Path

from dtir.core.atomic import atomic_write
from dtir.evaluation.render.sheet import save_sheet
from dtir.evaluation.render.svg import Drawing, heatmap


def write_expert_use(folder: str | Path, shares: Sequence[Sequence[Sequence[float]]], tasks: Sequence[str]) -> None:
    """Writes `experts.csv` and `experts.png`, each atomically.

    Args:
        folder: Where to write.
        shares: Share of every expert by task in each adapter, shallow to deep: (adapters, tasks, experts).
        tasks: Names of the tasks.
    """
    folder = Path(folder)
    experts = [f"expert {k}" for k in range(len(shares[0][0]))]
    with atomic_write(folder / "experts.csv", "w", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["adapter", "task", *experts])
        for place, table in enumerate(shares):
            writer.writerows([place, task, *(f"{v:.4f}" for v in row)] for task, row in zip(tasks, table, strict=True))
    save_sheet(folder / "experts.png", [expert_chart(shares, tasks)])


def expert_chart(shares: Sequence[Sequence[Sequence[float]]], tasks: Sequence[str]) -> Drawing:
    """The share of every expert by task, the adapters side by side.

    Args:
        shares: (adapters, tasks, experts).
        tasks: Names of the tasks.
    """
    number = len(shares[0][0])
    columns = [f"adapter {place} expert {k}" for place in range(len(shares)) for k in range(number)]
    joined = [[share for table in shares for share in table[k]] for k in range(len(tasks))]
    title = f"Share of the experts by task: {len(shares)} adapters, shallow to deep, {number} experts each"
    return heatmap(title, tasks, columns, joined, number)
