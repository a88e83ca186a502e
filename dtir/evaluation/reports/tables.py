"""The result of a validation as files: Markdown, CSV and JSON; and read back."""

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path

from dtir.core.atomic import atomic_write
from dtir.evaluation.measures import NOT_MEASURED, Measure
from dtir.evaluation.metrics import LPIPS, PSNR, SSIM, InputPSNR
from dtir.evaluation.metrics.base import AVERAGE
from dtir.evaluation.render import Grid, markdown_table
from dtir.evaluation.results import GAIN, ResultRow, ResultTable


def result_grid(table: ResultTable) -> Grid:
    """The cells of a table: task, matched step where there are any, pictures, and a column for every measure."""
    columns = [("task", [row.name for row in table.rows])]
    if any(row.matched_t is not None for row in table.rows):
        columns.append(("matched t", [_count(row.matched_t) for row in table.rows]))
    columns.append(("pictures", [_count(row.pictures) for row in table.rows]))
    columns += [(m.title, [m.show(row.values.get(m.label)) for row in table.rows]) for m in table.measures]
    header, cells = zip(*columns, strict=True)
    return Grid(list(header), [list(row) for row in zip(*cells, strict=True)], table.title, last_apart=True)


def _count(number: int | None) -> str:
    return NOT_MEASURED if number is None else str(number)


def write_results(folder: str | Path, table: ResultTable) -> None:
    """Writes `results.md`, `results.csv` and `results.json`, each atomically.

    The JSON is `{title, protocol, on_published_sets, measures: [...], tasks: {name: {matched_t, n, <key>: value, ...}},
    average: {...}}`, the keys of the values being those of the measures: `psnr_in`, `psnr`, `gain`, `ssim`, and so on.

    Args:
        folder: Where to write.
        table: The results.
    """
    folder, grid = Path(folder), result_grid(table)
    with atomic_write(folder / "results.md", "w", encoding="utf-8") as file:
        file.write("\n".join([f"# {table.title}", "", markdown_table(grid), "", *_how_measured(table), ""]))
    with atomic_write(folder / "results.csv", "w", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([grid.header, *grid.rows])
    with atomic_write(folder / "results.json", "w", encoding="utf-8") as file:
        json.dump(results_entry(table), file, indent=1, allow_nan=False)


def _how_measured(table: ResultTable) -> list[str]:
    return measured_lines([measure for measure in table.measures if measure.label != GAIN])


def measured_lines(measures: Sequence[Measure]) -> list[str]:
    """One Markdown line for each way of measuring, naming the measures that are taken so."""
    titles: dict[str, list[str]] = {}
    for measure in measures:
        titles.setdefault(measure.words, []).append(measure.title)
    return [f"- {', '.join(names)}: {words}." for words, names in titles.items() if words]


def results_entry(table: ResultTable) -> dict:
    """The table as plain values for JSON, which has no NaN and no infinity: None in their place."""
    rows = {row.name: _row_entry(row, table) for row in table.rows}
    return {
        "title": table.title,
        "protocol": table.protocol,
        "on_published_sets": table.on_published_sets,
        "measures": [measure.entry() for measure in table.measures],
        "average": rows.pop(AVERAGE),
        "tasks": rows,
    }


def _row_entry(row: ResultRow, table: ResultTable) -> dict:
    values = {measure.key: row.values[measure.label] for measure in table.measures if measure.label in row.values}
    finite = {key: value if math.isfinite(value) else None for key, value in values.items()}
    return {"matched_t": row.matched_t, "n": row.pictures, **finite}


def read_results(text: str) -> ResultTable:
    """The table of a `results.json`; one that names no measures, as older versions wrote it, has the usual ones.

    Raises:
        KeyError, TypeError, ValueError: It is no such file.
    """
    content = json.loads(text)
    entries = content.get("measures")
    measures = [Measure(**entry) for entry in entries] if entries else _usual_measures(content["protocol"])
    rows = [_read_row(name, row, measures) for name, row in {**content["tasks"], AVERAGE: content["average"]}.items()]
    return ResultTable(content.get("title", ""), measures, rows, content.get("on_published_sets", False))


def _usual_measures(protocol: str) -> list[Measure]:
    kinds = (InputPSNR, PSNR, SSIM, LPIPS)
    made = [Measure(k.name, k.title, k.key, k.higher_is_better, k.digits, k.unit, protocol) for k in kinds]
    return [
        *made[:2],
        Measure(GAIN, higher_is_better=True, digits=2, unit="dB", protocol=protocol, signed=True),
        *made[2:],
    ]


def _read_row(name: str, row: dict, measures: Sequence[Measure]) -> ResultRow:
    values = {measure.label: row[measure.key] for measure in measures if row.get(measure.key) is not None}
    return ResultRow(name, values, row.get("matched_t"), row.get("n"))
