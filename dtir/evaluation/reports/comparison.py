"""The result of a test, by picture and by task, beside published figures: Markdown, LaTeX, CSV and JSON."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from dtir.core.atomic import atomic_write
from dtir.evaluation.metrics import InputPSNR
from dtir.evaluation.metrics.base import AVERAGE
from dtir.evaluation.published import PublishedTable, published_table
from dtir.evaluation.records import PictureRecord
from dtir.evaluation.reports.text_tables import latex_table, markdown_table
from dtir.tasks import averaged_rows, set_of, task_of

NOT_MEASURED = "-"
SETS_TITLE = "Restoration and generalisation"
SETS_NOTE = (
    "Restoration is on the test set of what was trained on, generalisation on another; the average is without it."
)


@dataclass(frozen=True)
class TestReport:
    """All that a test has measured.

    Attributes:
        method: What was tested, in words.
        checkpoint: Its file.
        protocols: Name of each metric's protocol, by the metric's label; their order is that of the columns.
        measured: How each metric is measured, in words, by its label.
        records: One per picture.
        tasks: Names of the rows in their order: tasks, and generalisation sets as `<task>@<set>`.
    """

    __test__ = False

    method: str
    checkpoint: str
    protocols: Mapping[str, str]
    measured: Mapping[str, str]
    records: Sequence[PictureRecord]
    tasks: Sequence[str]

    def task_means(self) -> dict[str, dict[str, float]]:
        """Means over the pictures of each row, then `average`, the mean of `averaged_rows`; by metric."""
        means = {task: self._mean_of(task) for task in self.tasks}
        means = {task: values for task, values in means.items() if values}
        averaged = averaged_rows(means)
        average = {label: fmean(means[task][label] for task in averaged) for label in self.protocols}
        return {**means, AVERAGE: average}

    def count(self, task: str) -> int:
        """Pictures of a row, or of all that `average` is over."""
        rows = averaged_rows(self.tasks) if task == AVERAGE else [task]
        return sum(record.task in rows for record in self.records)

    def _mean_of(self, task: str) -> dict[str, float]:
        values = [record.values for record in self.records if record.task == task]
        return {label: fmean(v[label] for v in values) for label in self.protocols} if values else {}


def write_test_report(folder: str | Path, report: TestReport) -> None:
    """Writes `test.{md,tex,csv,json}` and `pictures.{csv,json}`, each atomically.

    `test.*` have the means by task. Markdown and LaTeX have more tables: where generalisation sets were tested, one of
    restoration beside generalisation, and where there is a published table for these tasks, its rows with this test's
    below them. CSV and JSON hold unrounded values. Every table names its protocols: a CSV in its header.

    Args:
        folder: Where to write.
        report: Of one picture at least.
    """
    folder = Path(folder)
    published = published_table(report.tasks)
    _write(folder / "test.md", _markdown(report, published))
    _write(folder / "test.tex", _latex(report, published))
    _write(folder / "test.json", json.dumps(_entries(report, published), indent=1) + "\n")
    _write(folder / "pictures.json", json.dumps(_picture_entries(report), indent=1) + "\n")
    labels = list(report.protocols)
    header = [f"{label} [{protocol}]" for label, protocol in report.protocols.items()]
    means = report.task_means()
    rows = [[task, report.count(task), *(values[label] for label in labels)] for task, values in means.items()]
    _write_csv(folder / "test.csv", [["task", "pictures", *header], *rows])
    rows = [[record.task, record.name, *(record.values[label] for label in labels)] for record in report.records]
    _write_csv(folder / "pictures.csv", [["task", "picture", *header], *rows])


def shown(label: str, value: float | None) -> str:
    """A value as tables show it: PSNR with two digits, everything else with four."""
    if value is None or math.isnan(value):
        return NOT_MEASURED
    return format(value, ".2f" if label.rpartition("/")[2].startswith("PSNR") else ".4f")


def _task_rows(report: TestReport) -> tuple[list[str], list[list[str]]]:
    header = ["task", "pictures", *report.protocols]
    rows = [
        [task, str(report.count(task)), *(shown(label, values[label]) for label in report.protocols)]
        for task, values in report.task_means().items()
    ]
    return header, rows


def _generalization_rows(report: TestReport) -> tuple[list[str], list[list[str]]]:
    """A row for every generalisation set, in the columns of the paper's Setting A."""
    means = report.task_means()
    sets = [row for row in report.tasks if row in means and set_of(row)]
    labels = [label for label in report.protocols if not label.endswith(InputPSNR.name)]
    header = [f"{kind} {label}" for kind in ("restoration", "generalisation") for label in labels]
    rows = [
        [
            task_of(row),
            set_of(row),
            *(shown(label, means.get(part, {}).get(label)) for part in (task_of(row), row) for label in labels),
        ]
        for row in sets
    ]
    return ["task", "generalisation set", *header], rows


def _published_rows(report: TestReport, table: PublishedTable) -> tuple[list[str], list[list[str]]]:
    means = report.task_means()
    rows = [
        [method, *(shown_published(column, value) for column, value in zip(table.columns, values, strict=True))]
        for method, values in table.rows.items()
    ]
    own = [shown(label, means.get(row, {}).get(label)) for row, label in table.own_columns]
    return ["method", *table.columns], [*rows, [f"{report.method}, this test", *own]]


def shown_published(column: str, value: float) -> str:
    """A published value as the paper prints it: PSNR with two digits, everything else with three."""
    return format(value, ".2f" if column.endswith("PSNR") else ".3f")


def _protocol_lines(report: TestReport) -> list[str]:
    """One line for each way of measuring, naming the metrics that are measured so."""
    labels: dict[str, list[str]] = {}
    for label, words in report.measured.items():
        labels.setdefault(words, []).append(label)
    return [f"{', '.join(names)}: {words}." for words, names in labels.items()]


def _markdown(report: TestReport, published: PublishedTable | None) -> str:
    parts = [f"# {report.method}", f"Checkpoint: `{report.checkpoint}`", markdown_table(*_task_rows(report))]
    parts.append("\n".join(f"- {line}" for line in _protocol_lines(report)))
    if any(map(set_of, report.tasks)):
        parts += [f"## {SETS_TITLE}", markdown_table(*_generalization_rows(report)), SETS_NOTE]
    if published:
        parts += [f"## {published.title}", markdown_table(*_published_rows(report, published)), published.note]
    return "\n\n".join(parts) + "\n"


def _latex(report: TestReport, published: PublishedTable | None) -> str:
    protocols = " ".join(_protocol_lines(report))
    parts = ["% Needs \\usepackage{booktabs}.", latex_table(f"{report.method}. {protocols}", *_task_rows(report))]
    if any(map(set_of, report.tasks)):
        parts.append(latex_table(f"{SETS_TITLE}. {SETS_NOTE} {protocols}", *_generalization_rows(report)))
    if published:
        caption = f"{published.title}. This test: {protocols} {published.note}"
        parts.append(latex_table(caption, *_published_rows(report, published)))
    return "\n\n".join(parts) + "\n"


def _entries(report: TestReport, published: PublishedTable | None) -> dict:
    means = {
        task: {"n": report.count(task), **{label: _finite(value) for label, value in values.items()}}
        for task, values in report.task_means().items()
    }
    average = means.pop(AVERAGE)
    entries = {"method": report.method, "checkpoint": report.checkpoint, "protocols": dict(report.measured)}
    entries |= {"tasks": means, "average": average, "published": None}
    if published:
        rows = {method: dict(zip(published.columns, values, strict=True)) for method, values in published.rows.items()}
        entries["published"] = {"title": published.title, "source": published.source, "rows": rows}
    return entries


def _picture_entries(report: TestReport) -> dict:
    pictures = [
        {"task": r.task, "picture": r.name, **{label: _finite(r.values[label]) for label in report.protocols}}
        for r in report.records
    ]
    return {"protocols": dict(report.measured), "pictures": pictures}


def _finite(value: float) -> float | None:
    # JSON has no NaN and no infinity.
    return value if math.isfinite(value) else None


def _write(path: Path, text: str) -> None:
    with atomic_write(path, "w", encoding="utf-8") as file:
        file.write(text)


def _write_csv(path: Path, rows: Sequence[Sequence]) -> None:
    with atomic_write(path, "w", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
