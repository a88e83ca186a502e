"""Methods side by side: one page, tables for a paper, the values of every picture, and figures."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from dtir.core.atomic import atomic_write
from dtir.evaluation.measures import NOT_MEASURED, Measure
from dtir.evaluation.metrics import PSNR
from dtir.evaluation.metrics.base import AVERAGE
from dtir.evaluation.render import Grid, html_table, latex_table, markdown_table
from dtir.evaluation.render.html import Html, data_uri, join, page, tag
from dtir.evaluation.render.radar import radar
from dtir.evaluation.render.sheet import save_sheet
from dtir.evaluation.render.svg import Drawing, Series, line_chart
from dtir.evaluation.reports.methods.cautions import cautions
from dtir.evaluation.reports.methods.pictures import write_pictures
from dtir.evaluation.reports.methods.reading import (
    Method,
    compared_measures,
    compared_rows,
    differences,
    picture_rows,
    write_rows,
)
from dtir.evaluation.statistics import mean_and_spread
from dtir.version import __version__

# More outlines than this cannot be told apart in one radar chart.
MOST_OUTLINES = 6
INTERVAL_NOTE = (
    "Difference of the averages over tasks, with its interval of 95 % by a paired bootstrap over pictures, and p of "
    "Wilcoxon's signed-rank test; values of a picture are means over the seeds. The interval speaks of other pictures, "
    "not of other trainings: for these look at the spread over seeds."
)
SEEDS_NOTE = "Mean over the seeds ± their standard deviation."


def write_comparison(out: str | Path, methods: Sequence[Method], figures: Sequence[str] = (".svg",)) -> Path:
    """Writes `compare.{html,md,tex,csv}`, `pictures.csv`, `pictures/` and `figures/` into a folder.

    Args:
        out: The folder.
        methods: Two at least; the first is what differences are counted from.
        figures: Endings of the figures' files: .svg, .pdf, .png.

    Returns:
        The page.

    Raises:
        ConfigError: See `save_sheet`.
        ImageFileError: A kept picture cannot be read.
    """
    out = Path(out)
    warnings, tables = cautions(methods), comparison_tables(methods)
    charts = comparison_charts(methods)
    for name, chart in charts.items():
        for ending in figures:
            save_sheet(out / "figures" / f"{name}{ending}", [chart])
    shown = write_pictures(out / "pictures", methods)
    head = f"{len(methods)} methods side by side; page written by dtir {__version__}"
    files = {
        "compare.md": _markdown(warnings, tables),
        "compare.tex": _latex(warnings, tables),
        "compare.html": page("dtir compare", tag("p", head, class_="lead"), _sections(warnings, tables, charts, shown)),
    }
    for name, text in files.items():
        with atomic_write(out / name, "w", encoding="utf-8") as file:
            file.write(text)
    for name, rows in (("compare.csv", value_rows(methods)), ("pictures.csv", picture_rows(methods))):
        with atomic_write(out / name, "w", encoding="utf-8") as file:
            write_rows(file, rows)
    return out / "compare.html"


def _markdown(warnings: Sequence[str], tables: Sequence[Grid]) -> str:
    parts = [*(f"> {text}" for text in warnings), *(f"## {t.caption}\n\n{markdown_table(t)}" for t in tables)]
    return "\n\n".join(parts) + "\n"


def _latex(warnings: Sequence[str], tables: Sequence[Grid]) -> str:
    comments = "\n".join(["% Needs \\usepackage{booktabs}.", *(f"% {text}" for text in warnings)])
    return "\n\n".join([comments, *map(latex_table, tables)]) + "\n"


def comparison_tables(methods: Sequence[Method]) -> list[Grid]:
    """The averages, each measure by task, the differences to the first method, and the costs, where they are known."""
    measures = compared_measures(methods)
    tables = [_average_table(methods, measures), *(_task_table(methods, measure) for measure in measures)]
    found = differences(methods)
    if found:
        reference = methods[0].name
        rows = [
            [
                *(d.method, d.measure.title),
                *(f"{v:+.{d.measure.digits}f}" for v in (d.mean, d.low, d.high)),
                *(f"{d.p:.3g}", str(d.pictures)),
            ]
            for d in found
        ]
        header = ["method", "measure", "difference", "from", "to", "p", "pictures"]
        tables.append(Grid(header, rows, f"Against {reference}. {INTERVAL_NOTE}"))
    if any(method.costs for method in methods):
        tables.append(_cost_table(methods))
    return tables


def _average_table(methods: Sequence[Method], measures: Sequence[Measure]) -> Grid:
    rows = [
        [method.name, str(len(method.runs)), *(method.shown(AVERAGE, measure) for measure in measures)]
        for method in methods
    ]
    best = {(row, 2 + k) for k, measure in enumerate(measures) for row in _best(methods, AVERAGE, measure)}
    header = ["method", "seeds", *(measure.title for measure in measures)]
    return Grid(header, rows, f"Average over the tasks. {SEEDS_NOTE}", best=best)


def _task_table(methods: Sequence[Method], measure: Measure) -> Grid:
    tasks = compared_rows(methods)
    rows = [[task, *(method.shown(task, measure) for method in methods)] for task in tasks]
    best = {(row, 1 + k) for row, task in enumerate(tasks) for k in _best(methods, task, measure)}
    protocol = f"protocol '{measure.protocol}'"
    caption = f"{measure.with_unit()} by task, {protocol}. {SEEDS_NOTE}"
    return Grid(["task", *(method.name for method in methods)], rows, caption, last_apart=True, best=best)


def _best(methods: Sequence[Method], task: str, measure: Measure) -> list[int]:
    """Places of the methods with the best mean as it is shown; none where no direction is known, or all are alike."""
    means = {
        place: round(mean_and_spread(values)[0], measure.digits)
        for place, method in enumerate(methods)
        if (values := method.values(task, measure.label))
    }
    if measure.higher_is_better is None or len(set(means.values())) < 2:
        return []
    best = max(means.values()) if measure.higher_is_better else min(means.values())
    return [place for place, mean in means.items() if mean == best]


def _cost_table(methods: Sequence[Method]) -> Grid:
    keys = ("parameters", "macs", "seconds_per_megapixel", "peak_bytes")
    units = (1e6, 1e9, 1, 2**20)
    rows = [
        [m.name, *(_cost(m, k, u) for k, u in zip(keys, units, strict=True)), ", ".join(_machines(m))] for m in methods
    ]
    header = ["method", "parameters / M", "GMACs at 256 x 256", "seconds / megapixel", "peak memory / MiB", "on"]
    return Grid(header, rows, "Costs of restoring, as the tests measured them: medians over the seeds.")


def _cost(method: Method, key: str, unit: float) -> str:
    values = [cost[key] for cost in method.costs if cost.get(key) is not None]
    return f"{median(values) / unit:.3g}" if values else NOT_MEASURED


def _machines(method: Method) -> list[str]:
    return sorted({f"{cost['device']}, {cost['threads']} threads" for cost in method.costs})


def value_rows(methods: Sequence[Method]) -> list[list[str]]:
    """A table for a CSV file: every measure of every run by task, unrounded."""
    rows = [["method", "run", "task", "measure", "value"]]
    for method in methods:
        for run in method.runs:
            for task in compared_rows(methods):
                values = ((m, run.results.value(task, m.label)) for m in compared_measures(methods))
                rows += [[method.name, str(run.folder), task, m.label, repr(v)] for m, v in values if v is not None]
    return rows


def comparison_charts(methods: Sequence[Method]) -> dict[str, Drawing]:
    """By name: a radar chart of every measure over the tasks, and the validation PSNR over the iterations."""
    tasks = compared_rows(methods)[:-1]
    charts = {}
    if len(tasks) >= 3:
        for measure in compared_measures(methods):
            charts[f"radar_{measure.key.replace('/', '_')}"] = _radar(methods[:MOST_OUTLINES], tasks, measure)
    curves = [series for index, method in enumerate(methods) if (series := _curve(method, index)) is not None]
    if curves:
        charts["curves"] = line_chart("validation PSNR in dB, average over the tasks", curves)
    return charts


def _radar(methods: Sequence[Method], tasks: Sequence[str], measure: Measure) -> Drawing:
    smaller = measure.higher_is_better is False
    series = []
    for index, method in enumerate(methods):
        known = [(k, values) for k, task in enumerate(tasks) if (values := method.values(task, measure.label))]
        means = [mean_and_spread(values)[0] for _, values in known]
        series.append(Series(method.name, [k for k, _ in known], means, color=index))
    return radar(f"{measure.with_unit()}{', smaller is better' if smaller else ''}", tasks, series, smaller)


def _curve(method: Method, color: int) -> Series | None:
    """The mean over the seeds, with their spread, at the iterations that all of them have validated."""
    key = f"{AVERAGE}/{PSNR.name}"
    runs = [{line["step"]: line[key] for line in run.scalars if key in line} for run in method.runs]
    steps = sorted(set.intersection(*(set(run) for run in runs)))
    if not steps:
        return None
    found = [mean_and_spread([run[step] for run in runs]) for step in steps]
    spread = [width or 0.0 for _, width in found] if len(runs) > 1 else None
    return Series(method.name, steps, [mean for mean, _ in found], color=color, spread=spread)


def _sections(
    warnings: Sequence[str], tables: Sequence[Grid], charts: dict[str, Drawing], pictures: Sequence[Path]
) -> list[tuple[str, str, Html]]:
    told = (tag("p", text, class_="warning") for text in warnings)
    images = (tag("img", src=data_uri(path), alt=f"Methods side by side: {path.stem}") for path in pictures)
    drawn = tag("div", charts.values(), class_="charts wide") if charts else _note("Nothing to draw.")
    shown = (
        tag("div", images, class_="sheets") if pictures else _note("No picture was kept by every method's ReportHook.")
    )
    return [
        ("tables", "Tables", join(told, map(html_table, tables))),
        ("charts", "Charts", drawn),
        ("pictures", "Pictures", shown),
    ]


def _note(text: str) -> Html:
    return tag("p", text, class_="missing")
