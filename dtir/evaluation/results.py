"""Results as data: what was measured, how, and its value for every task. `dtir.evaluation.render` draws them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from dtir.core.errors import ConfigError
from dtir.evaluation.measures import Measure
from dtir.evaluation.metrics.base import AVERAGE, PictureMetric
from dtir.evaluation.metrics.fidelity import PSNR, InputPSNR
from dtir.evaluation.statistics import mean_of_finite
from dtir.tasks import averaged_rows, task_of

GAIN = "gain"


@dataclass(frozen=True)
class ResultRow:
    """The values of one task, of one generalisation set of a task, or the average.

    Attributes:
        name: The task, `<task>@<set>` for a generalisation set, or `average`.
        values: By label of the measure; a measure that is not there was not taken.
        matched_t: Matched time step, None where there is none.
        pictures: How many pictures the values are means over, None where they were not counted.
    """

    name: str
    values: Mapping[str, float]
    matched_t: int | None = None
    pictures: int | None = None


@dataclass(frozen=True)
class ResultTable:
    """Measures by task.

    Attributes:
        title: What was measured.
        measures: The columns, in order.
        rows: The tasks in order, each one's generalisation sets after it, and the average last.
        on_published_sets: Whether the pictures are whole published test sets, so that published figures compare.
    """

    title: str
    measures: Sequence[Measure]
    rows: Sequence[ResultRow]
    on_published_sets: bool = False

    @property
    def tasks(self) -> list[str]:
        """Names of the rows without the average."""
        return [row.name for row in self.rows if row.name != AVERAGE]

    @property
    def protocol(self) -> str:
        """Name of the protocol of the first measure."""
        return self.measures[0].protocol

    def measure(self, label: str) -> Measure | None:
        """The measure of a label, None if it was not taken."""
        return next((measure for measure in self.measures if measure.label == label), None)

    def value(self, name: str, label: str) -> float | None:
        """A finite value of a row; None where it was not taken."""
        value = next((row.values.get(label) for row in self.rows if row.name == name), None)
        return value if value is not None and math.isfinite(value) else None


def with_gain(table: ResultTable) -> ResultTable:
    """The table with a column `gain` after PSNR: what restoring added to the PSNR of the input, in dB.

    A table without both comes back as it is.
    """
    psnr, before = table.measure(PSNR.name), table.measure(InputPSNR.name)
    if psnr is None or before is None:
        return table
    gain = replace(psnr, label=GAIN, title=GAIN, key=GAIN, signed=True)
    place = list(table.measures).index(psnr) + 1
    measures = [*table.measures[:place], gain, *table.measures[place:]]
    return replace(table, measures=measures, rows=[_with_gain(row) for row in table.rows])


def _with_gain(row: ResultRow) -> ResultRow:
    if PSNR.name not in row.values or InputPSNR.name not in row.values:
        return row
    return replace(row, values={**row.values, GAIN: row.values[PSNR.name] - row.values[InputPSNR.name]})


def result_table(
    title: str, metrics: Iterable[object], values: Mapping[str, float], tasks: Sequence[str], matched_t: Sequence[int]
) -> ResultTable:
    """The table of an evaluation, with the gain where the PSNR of the input was measured as well.

    Args:
        title: What was measured.
        metrics: Those of the evaluator. Of one that is no `PictureMetric` only the label is known.
        values: What `Evaluator.evaluate` returned: `<row>/<name>`, after the prefix where a metric has one.
        tasks: Names of the model's tasks.
        matched_t: Their matched steps, negative where there is none.

    Raises:
        ConfigError: No task has a value.
    """
    own = [metric for metric in metrics if isinstance(metric, PictureMetric)]
    found = _own_values(own, values)
    foreign = {key: (*key.partition("/")[::2], value) for key, value in values.items() if key not in found}
    by_row: dict[str, dict[str, float]] = {}
    for row, label, value in (*found.values(), *foreign.values()):
        by_row.setdefault(row, {})[label] = value
    others = dict.fromkeys(label for row, label, _ in foreign.values() if task_of(row) in tasks)
    measures = [*(metric.measure_taken() for metric in own), *map(Measure, others)]
    counts = own[0].counts if own else {}
    steps = {task: t if t >= 0 else None for task, t in zip(tasks, matched_t, strict=True)}
    rows = [ResultRow(name, by_row[name], steps[task_of(name)], counts.get(name)) for name in _ordered(by_row, tasks)]
    if not rows:
        raise ConfigError(
            f"no value of any of the tasks {', '.join(tasks)}: put dict(type='PSNR'), dict(type='SSIM') and "
            "dict(type='InputPSNR') in val_evaluator and test_evaluator."
        )
    return with_gain(ResultTable(title, measures, [*rows, average_row(rows)]))


def _own_values(metrics: Iterable[PictureMetric], values: Mapping[str, float]) -> dict[str, tuple[str, str, float]]:
    """Row, label and value by key, of the values that these metrics have measured: `[<prefix>/]<row>/<name>`."""
    found = {}
    for metric in metrics:
        start, end = (f"{metric.prefix}/" if metric.prefix else ""), f"/{metric.name}"
        for key, value in values.items():
            row = key.removeprefix(start).removesuffix(end)
            if key == f"{start}{row}{end}" and "/" not in row:
                found[key] = (row, metric.label, value)
    return found


def _ordered(rows: Iterable[str], tasks: Sequence[str]) -> list[str]:
    """Names of rows in the order of the tasks, each task's generalisation sets after it."""
    places = {task: place for place, task in enumerate(tasks)}
    return sorted((row for row in rows if task_of(row) in places), key=lambda row: (places[task_of(row)], row))


def average_row(rows: Sequence[ResultRow]) -> ResultRow:
    """The mean over the rows of `averaged_rows`, of the measures that all of them have."""
    names = set(averaged_rows(row.name for row in rows))
    averaged = [row for row in rows if row.name in names]
    labels = [label for label in averaged[0].values if all(label in row.values for row in averaged)]
    means = {label: mean_of_finite(row.values[label] for row in averaged) for label in labels}
    return ResultRow(AVERAGE, means, pictures=sum(row.pictures or 0 for row in averaged) or None)
