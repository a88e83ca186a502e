"""Section of the report page in which a run stands beside the published methods."""

from dtir.evaluation.metrics.base import AVERAGE
from dtir.evaluation.published import PublishedTable, published_table
from dtir.evaluation.render import html_table
from dtir.evaluation.render.html import Html, join, tag
from dtir.evaluation.render.radar import Spoke, scaled_radar
from dtir.evaluation.render.svg import Series
from dtir.evaluation.reports.comparison import published_grid
from dtir.evaluation.reports.run.record import RunRecord
from dtir.evaluation.reports.run.training_sections import missing
from dtir.registry import METRICS


def published_methods(record: RunRecord) -> Html:
    """Radar chart of the paper's measures for this run and the methods of the paper, and the paper's table."""
    if record.results and not record.results.on_published_sets:
        return missing(
            "This run was not measured on the published test sets, so published figures do not compare with it:",
            "tools/dataset_converters/prepare.py prepares the sets, whole, and counts their pairs.",
        )
    published = published_table(record.tasks) if record.tasks else None
    if published is None:
        return missing(
            "There are published figures of the ten tasks together (Setting B) and of dehazing (Setting A); this run's "
            "results are of others."
        )
    scales = "Each spoke has a scale of its own, given at its end, with the better value outwards."
    by_task = "The paper's figures task by task are not at hand: these are its averages."
    is_average = any(row == AVERAGE for row, _ in published.own_columns)
    note = " ".join([published.note, *([by_task] if is_average else []), scales])
    chart = tag("div", _chart(record, published), class_="charts wide")
    grid = published_grid(published, f"{record.name} (this run)", record.results, published.title)
    return join(tag("p", note, class_="note"), chart, html_table(grid))


def _chart(record: RunRecord, published: PublishedTable) -> Html:
    spokes = [
        Spoke(column, smaller=METRICS.get(label).higher_is_better is False)
        for column, (_, label) in zip(published.columns, published.own_columns, strict=True)
    ]
    everywhere = range(len(spokes))
    series = [
        Series(method, everywhere, published.rows[method], color=index)
        for index, method in enumerate(published.methods)
    ]
    own = [record.results.value(row, label) for row, label in published.own_columns]
    known = [index for index in everywhere if own[index] is not None]
    series.append(Series(record.name, known, [own[index] for index in known], style="bold"))
    return scaled_radar(published.title, spokes, series)
