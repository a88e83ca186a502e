"""The result of a test, by picture and by task, beside published figures: Markdown, LaTeX, CSV and JSON."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dtir.core.atomic import atomic_write
from dtir.evaluation.measures import NOT_MEASURED, Measure
from dtir.evaluation.metrics import InputPSNR
from dtir.evaluation.metrics.base import AVERAGE
from dtir.evaluation.published import PublishedTable, published_table
from dtir.evaluation.records import PictureRecord
from dtir.evaluation.render import Grid, latex_table, markdown_table
from dtir.evaluation.reports.tables import measured_lines
from dtir.evaluation.results import ResultRow, ResultTable, average_row
from dtir.evaluation.statistics import mean_of_finite
from dtir.tasks import set_of, task_of

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
        measures: What the metrics say of their values; their order is that of the columns.
        records: One per picture.
        tasks: Names of the rows in their order: tasks, and generalisation sets as `<task>@<set>`.
        on_published_sets: Whether the pictures are whole published test sets, so that published figures compare.
    """

    __test__ = False

    method: str
    checkpoint: str
    measures: Sequence[Measure]
    records: Sequence[PictureRecord]
    tasks: Sequence[str]
    on_published_sets: bool = False

    @property
    def published(self) -> PublishedTable | None:
        """The published table that stands beside this test, None without one."""
        return published_table(self.tasks) if self.on_published_sets else None

    def table(self) -> ResultTable:
        """Means over the pictures of each row, then `average`, the mean of `averaged_rows`."""
        rows = [self._row(task) for task in self.tasks if any(record.task == task for record in self.records)]
        return ResultTable(self.method, self.measures, [*rows, average_row(rows)])

    def _row(self, task: str) -> ResultRow:
        values = [record.values for record in self.records if record.task == task]
        means = {measure.label: mean_of_finite(v[measure.label] for v in values) for measure in self.measures}
        return ResultRow(task, means, pictures=len(values))


def write_test_report(folder: str | Path, report: TestReport) -> None:
    """Writes `test.{md,tex,csv,json}` and `pictures.{csv,json}`, each atomically.

    `test.*` have the means by task. Markdown and LaTeX have more tables: where generalisation sets were tested, one of
    restoration beside generalisation, and where a published table is of these test sets, its rows with this test's
    below them. CSV and JSON hold unrounded values. Every table names its protocols: a CSV in its header.

    Args:
        folder: Where to write.
        report: What was measured, of one picture at least.
    """
    folder = Path(folder)
    published = report.published
    table = report.table()
    labels = [measure.label for measure in report.measures]
    header = [f"{measure.label} [{measure.protocol}]" for measure in report.measures]
    rows = [[row.name, row.pictures, *(row.values[label] for label in labels)] for row in table.rows]
    pictures = [[record.task, record.name, *(record.values[label] for label in labels)] for record in report.records]
    _write(folder / "test.md", _markdown(report, table, published))
    _write(folder / "test.tex", _latex(report, table, published))
    _write(folder / "test.json", _json(_entries(report, table, published)))
    _write(folder / "pictures.json", _json(_picture_entries(report)))
    _write_csv(folder / "test.csv", [["task", "pictures", *header], *rows])
    _write_csv(folder / "pictures.csv", [["task", "picture", *header], *pictures])


def _task_grid(table: ResultTable, caption: str = "") -> Grid:
    header = ["task", "pictures", *(measure.title for measure in table.measures)]
    rows = [
        [row.name, str(row.pictures), *(measure.show(row.values[measure.label]) for measure in table.measures)]
        for row in table.rows
    ]
    return Grid(header, rows, caption, last_apart=True)


def _generalization_grid(table: ResultTable, caption: str = "") -> Grid:
    """A row for every generalisation set, in the columns of the paper's Setting A."""
    means = {row.name: row.values for row in table.rows}
    measures = [measure for measure in table.measures if not measure.label.endswith(InputPSNR.name)]
    header = [f"{kind} {measure.title}" for kind in ("restoration", "generalisation") for measure in measures]
    rows = [
        [
            task_of(name),
            set_of(name),
            *(m.show(means.get(part, {}).get(m.label)) for part in (task_of(name), name) for m in measures),
        ]
        for name in table.tasks
        if set_of(name)
    ]
    return Grid(["task", "generalisation set", *header], rows, caption)


def published_grid(published: PublishedTable, method: str, table: ResultTable, caption: str = "") -> Grid:
    """The rows of a published table, and below them those values of a test that stand under its columns."""
    rows = [[name, *published.shown(values)] for name, values in published.rows.items()]
    own = [_own_cell(table, name, label) for name, label in published.own_columns]
    return Grid(["method", *published.columns], [*rows, [method, *own]], caption, last_apart=True)


def _own_cell(table: ResultTable, name: str, label: str) -> str:
    measure = table.measure(label)
    return NOT_MEASURED if measure is None else measure.show(table.value(name, label))


def _markdown(report: TestReport, table: ResultTable, published: PublishedTable | None) -> str:
    parts = [f"# {report.method}", f"Checkpoint: `{report.checkpoint}`", markdown_table(_task_grid(table))]
    parts.append("\n".join(measured_lines(report.measures)))
    if any(map(set_of, report.tasks)):
        parts += [f"## {SETS_TITLE}", markdown_table(_generalization_grid(table)), SETS_NOTE]
    if published:
        grid = published_grid(published, _this_test(report), table)
        parts += [f"## {published.title}", markdown_table(grid), published.note]
    return "\n\n".join(parts) + "\n"


def _this_test(report: TestReport) -> str:
    return f"{report.method}, this test"


def _latex(report: TestReport, table: ResultTable, published: PublishedTable | None) -> str:
    protocols = " ".join(line.removeprefix("- ") for line in measured_lines(report.measures))
    parts = ["% Needs \\usepackage{booktabs}.", latex_table(_task_grid(table, f"{report.method}. {protocols}"))]
    if any(map(set_of, report.tasks)):
        parts.append(latex_table(_generalization_grid(table, f"{SETS_TITLE}. {SETS_NOTE} {protocols}")))
    if published:
        caption = f"{published.title}. This test: {protocols} {published.note}"
        parts.append(latex_table(published_grid(published, _this_test(report), table, caption)))
    return "\n\n".join(parts) + "\n"


def _entries(report: TestReport, table: ResultTable, published: PublishedTable | None) -> dict:
    means = {
        row.name: {"n": row.pictures, **{label: _finite(value) for label, value in row.values.items()}}
        for row in table.rows
    }
    average = means.pop(AVERAGE)
    entries = {"method": report.method, "checkpoint": report.checkpoint, "protocols": _protocols(report)}
    entries |= {"tasks": means, "average": average, "published": None}
    if published:
        rows = {method: dict(zip(published.columns, values, strict=True)) for method, values in published.rows.items()}
        entries["published"] = {"title": published.title, "source": published.source, "rows": rows}
    return entries


def _protocols(report: TestReport) -> dict[str, str]:
    return {measure.label: measure.words for measure in report.measures}


def _picture_entries(report: TestReport) -> dict:
    pictures = [
        {"task": r.task, "picture": r.name, **{m.label: _finite(r.values[m.label]) for m in report.measures}}
        for r in report.records
    ]
    return {"protocols": _protocols(report), "pictures": pictures}


def _finite(value: float) -> float | None:
    # JSON has no NaN and no infinity.
    return value if math.isfinite(value) else None


def _json(content: dict) -> str:
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _write(path: Path, text: str) -> None:
    with atomic_write(path, "w", encoding="utf-8") as file:
        file.write(text)


def _write_csv(path: Path, rows: Sequence[Sequence]) -> None:
    with atomic_write(path, "w", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
