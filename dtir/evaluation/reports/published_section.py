"""Section of the report page in which a run stands beside the published methods."""

import math

from dtir.evaluation.metrics.base import AVERAGE
from dtir.evaluation.published import PublishedTable, published_table
from dtir.evaluation.reports.comparison import shown, shown_published
from dtir.evaluation.reports.html import Html, join, table, tag
from dtir.evaluation.reports.radar import Spoke, scaled_radar
from dtir.evaluation.reports.result_sections import value_of
from dtir.evaluation.reports.run_record import RunRecord
from dtir.evaluation.reports.svg import Series
from dtir.evaluation.reports.training_sections import missing


def published_methods(record: RunRecord) -> Html:
    """Radar chart of PSNR, SSIM and LPIPS of this run and of the methods of the paper, and the paper's table."""
    published = published_table(record.tasks) if record.tasks else None
    if published is None:
        return missing(
            "There are published figures of the ten tasks together (Setting B) and of dehazing (Setting A); this run's "
            "results are of others."
        )
    own = [_own(record, row, label) for row, label in published.own_columns]
    scales = "Each spoke has a scale of its own, given at its end, with the better value outwards."
    by_task = "The paper's figures task by task are not at hand: these are its averages."
    is_average = any(row == AVERAGE for row, _ in published.own_columns)
    note = " ".join([published.note, *([by_task] if is_average else []), scales])
    chart = tag("div", _chart(record.name, own, published), class_="charts wide")
    return join(tag("p", note, class_="note"), chart, _table(record.name, own, published))


def _own(record: RunRecord, row: str, label: str) -> float | None:
    value = value_of(record, row, label.lower())
    return value if value is not None and math.isfinite(value) else None


def _chart(name: str, own: list[float | None], published: PublishedTable) -> Html:
    spokes = [Spoke(column, smaller=column.endswith("LPIPS")) for column in published.columns]
    everywhere = range(len(spokes))
    series = [
        Series(method, everywhere, published.rows[method], color=index)
        for index, method in enumerate(published.methods)
    ]
    known = [index for index in everywhere if own[index] is not None]
    series.append(Series(name, known, [own[index] for index in known], style="bold"))
    return scaled_radar(published.title, spokes, series)


def _table(name: str, own: list[float | None], published: PublishedTable) -> Html:
    rows = [
        [method, *(shown_published(column, value) for column, value in zip(published.columns, values, strict=True))]
        for method, values in published.rows.items()
    ]
    last = [shown(label, value) for (_, label), value in zip(published.own_columns, own, strict=True)]
    return table(["method", *published.columns], [*rows, [f"{name} (this run)", *last]], published.title)
