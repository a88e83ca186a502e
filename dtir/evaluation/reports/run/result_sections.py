"""Sections of the report page about the results: tables, radar charts, forgetting, experts, confusion, pictures."""

import math
from collections.abc import Sequence
from dataclasses import replace

from dtir.evaluation.measures import NOT_MEASURED, Measure
from dtir.evaluation.metrics import LPIPS, PSNR, InputPSNR
from dtir.evaluation.metrics.base import AVERAGE
from dtir.evaluation.render import html_table
from dtir.evaluation.render.html import Html, data_uri, join, table, tag
from dtir.evaluation.render.radar import radar
from dtir.evaluation.render.svg import COLORS, Series, legend, scatter
from dtir.evaluation.reports.experts import expert_chart
from dtir.evaluation.reports.forgetting import FORGOTTEN, forgotten, shares_lost
from dtir.evaluation.reports.pictures import KINDS
from dtir.evaluation.reports.run.record import RunRecord
from dtir.evaluation.reports.run.training_sections import missing
from dtir.evaluation.reports.tables import result_grid
from dtir.evaluation.results import GAIN


def results(record: RunRecord, others: Sequence[RunRecord]) -> Html:
    """The table of this run, and one per measure beside the other runs."""
    if not record.results:
        return missing(
            "There are no results (report/results.json).",
            "dict(type='ReportHook') in custom_hooks writes them at every validation and test.",
        )
    protocol = record.results.protocol
    grid = replace(result_grid(record.results), caption=f"Results on the validation pictures; protocol '{protocol}'")
    unmeasured = None if record.results.measure(LPIPS.name) else _not_measured(LPIPS.name)
    return join(html_table(grid), unmeasured, _comparison(record, others))


def _not_measured(label: str) -> Html:
    return missing(f"{label} was not measured; dict(type='{label}') in val_evaluator and test_evaluator does.")


def _compared_measures(record: RunRecord) -> list[Measure]:
    """What runs are compared by: not the input, which is alike for all, nor the gain, which says what PSNR says."""
    return [m for m in record.results.measures if m.label not in (InputPSNR.name, GAIN)]


def _comparison(record: RunRecord, others: Sequence[RunRecord]) -> Html | None:
    if not others:
        return None
    runs = [record, *others]
    tables = [_compared(measure, runs) for measure in _compared_measures(record)]
    return join(_protocol_note(runs), tables)


def _compared(measure: Measure, runs: Sequence[RunRecord]) -> Html:
    rows = [
        [task, *_best_marked(measure, [run.results.value(task, measure.label) for run in runs])]
        for task in [*runs[0].tasks, AVERAGE]
    ]
    note = "" if measure.higher_is_better is None else "; bold: the best of a row"
    return table(["task", *(run.name for run in runs)], rows, f"{measure.with_unit()}{note}")


def _best_marked(measure: Measure, values: Sequence[float | None]) -> list[Html]:
    known = [value for value in values if value is not None]
    best = None
    if known and measure.higher_is_better is not None:
        best = max(known) if measure.higher_is_better else min(known)
    texts = [measure.show(value) for value in values]
    return [
        tag("td", tag("strong", text) if value is not None and value == best else text)
        for value, text in zip(values, texts, strict=True)
    ]


def _protocol_note(runs: Sequence[RunRecord]) -> Html | None:
    protocols = {run.name: run.results.protocol for run in runs}
    if len(set(protocols.values())) == 1:
        return None
    listed = ", ".join(f"{name}: '{protocol}'" for name, protocol in protocols.items())
    return tag("p", f"The runs were measured by different protocols ({listed}); do not compare them.", class_="warning")


def radars(record: RunRecord, others: Sequence[RunRecord]) -> Html:
    """One chart over the tasks for each measure."""
    tasks = record.tasks
    if len(tasks) < 3:
        return missing(f"A radar chart needs results on three tasks; report/results.json has {len(tasks)}.")
    runs = [record, *others]
    charts = [_radar(runs, tasks, measure) for measure in _compared_measures(record)]
    if record.results.measure(LPIPS.name) is None:
        charts.append(_not_measured(LPIPS.name))
    hint = "" if others else " --compare NAME=DIR draws other work folders into the charts."
    note = tag("p", f"Outwards is better in every chart.{hint}", class_="note")
    return join(note, _protocol_note(runs), _gaps(runs, tasks), tag("div", charts, class_="charts wide"))


def _gaps(runs: Sequence[RunRecord], tasks: Sequence[str]) -> Html | None:
    without = {run.name: [task for task in tasks if task not in run.tasks] for run in runs}
    told = [f"{name} has no {', '.join(lacking)}" for name, lacking in without.items() if lacking]
    return tag("p", f"Left out of the outlines: {'; '.join(told)}.", class_="warning") if told else None


def _radar(runs: Sequence[RunRecord], tasks: Sequence[str], measure: Measure) -> Html:
    series = [_spokes(run, tasks, measure.label, index) for index, run in enumerate(runs)]
    if measure.label == PSNR.name:
        inputs = _spokes(runs[0], tasks, InputPSNR.name, COLORS - 1, "dashed")
        series.insert(0, replace(inputs, name="input"))
    drawn = [s for s in series if s.x]
    if not drawn:
        return missing(f"{measure.title} has no finite value.")
    smaller = measure.higher_is_better is False
    return radar(f"{measure.with_unit()}{', smaller is better' if smaller else ''}", tasks, drawn, smaller)


def _spokes(run: RunRecord, tasks: Sequence[str], label: str, color: int, style: str = "") -> Series:
    values = [run.results.value(task, label) for task in tasks]
    known = [(index, value) for index, value in enumerate(values) if value is not None]
    return Series(run.name, [index for index, _ in known], [value for _, value in known], color, style)


def forgetting(record: RunRecord) -> Html:
    """PSNR of every task after every stage, and what was lost since its best."""
    if not record.forgetting:
        return missing(
            "There is no forgetting matrix (report/forgetting.csv).",
            "dict(type='ForgettingHook') in custom_hooks writes it, with validate=True in the stages.",
        )
    stages = record.forgetting
    tasks = list(dict.fromkeys(task for row in stages.values() for task in row))
    rows = [
        [stage, *(_heat(row.get(task), ".2f", share) for task, share in zip(tasks, shares, strict=True))]
        for (stage, row), shares in zip(stages.items(), shares_lost(stages, tasks), strict=True)
    ]
    rows.append([FORGOTTEN, *(_number(_finite(forgotten(stages, task)), ".2f") for task in tasks)])
    note = "Darker: further below the task's best, because it is not yet learned or already forgotten. "
    note += "Last row: how far each task ended below its best."
    return join(
        tag("p", note, class_="note"), table(["stage", *tasks], rows, "PSNR in dB of every task after every stage")
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float | None, form: str) -> str:
    return NOT_MEASURED if value is None else format(value, form)


def _heat(value: float | None, form: str, share: float) -> Html:
    if value is None:
        return tag("td", "-")
    return tag("td", format(value, form), class_="heat", style=f"--heat:{min(max(share, 0), 1):.3f}")


def expert_usage(record: RunRecord) -> Html:
    """Share of the experts of every adapter by task."""
    if not record.experts:
        return missing(
            "There is no expert usage (report/experts.csv).",
            "dict(type='ExpertUseHook') in custom_hooks writes it after each stage, for networks with "
            "adapter=dict(type='MoEAdapter').",
        )
    adapters = list(record.experts)
    tasks = list(record.experts[adapters[0]])
    number = len(record.experts[adapters[0]][tasks[0]])
    shares = [[record.experts[adapter][task] for task in tasks] for adapter in adapters]
    rows = [
        [task, *(_number(_mean(record.experts[a][task][k] for a in adapters), ".3f") for k in range(number))]
        for task in tasks
    ]
    averages = table(["task", *(f"expert {k}" for k in range(number))], rows, "Mean share over the adapters")
    return join(expert_chart(shares, tasks), averages)


def _mean(values) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)


def confusion(record: RunRecord) -> Html:
    """Which task was taken for which."""
    if not record.confusion:
        return missing(
            "There is no confusion of the blind time step (report/confusion.csv).",
            "dict(type='BlindTaskHook') in custom_hooks trains the estimator and writes it at every validation.",
        )
    tasks = list(record.confusion)
    rows = [
        [task, *(_heat(n, "d", n / max(sum(row.values()), 1)) for n in row.values())]
        for task, row in record.confusion.items()
    ]
    right = sum(row.get(task, 0) for task, row in record.confusion.items())
    total = sum(sum(row.values()) for row in record.confusion.values())
    share = f" ({right / total:.0%})" if total else ""
    note = (
        f"{right} of {total} pictures{share} were given their own task, and so its time step, from the picture alone."
    )
    return join(
        tag("p", note, class_="note"),
        table(["true \\ estimated", *tasks], rows, "Pictures by true task (rows) and estimated task (columns)"),
    )


def pictures(record: RunRecord) -> Html:
    """Pairs under a slider, by task."""
    if not record.pictures:
        return missing(
            "There are no pictures (report/pictures/pictures.json).",
            "dict(type='ReportHook', num_pictures=2) in custom_hooks keeps them at every validation and test.",
        )
    note = (
        "Left of the line: the input (LQ); right of it: restored. Move the slider by mouse, finger or arrow keys; hold "
        "G, or press the button, to see the original (GT). Large pictures are shown by their middle; the PSNR is that "
        "of the whole picture, RGB."
    )
    shown = (_slider(record, index, entry) for index, entry in enumerate(record.pictures))
    return join(tag("p", note, class_="note"), tag("div", shown, class_="pictures"))


def _slider(record: RunRecord, index: int, entry: dict) -> Html:
    name = f"{entry['task']}, {entry['name']}"
    alts = {"lq": f"Input of {name}", "restored": f"Restored {name}", "gt": f"Original of {name}"}
    folder = record.folder / "report" / "pictures"
    images = [
        tag("img", src=data_uri(folder / entry["files"][kind]), alt=alts[kind], class_=kind, decoding="async")
        for kind in reversed(KINDS)
    ]
    key = f"slider-{index}"
    controls = (
        tag("label", f"Share of the input shown, {name}", for_=key, class_="hidden"),
        tag("input", id=key, type="range", min=0, max=100, value=50, step=1),
        tag("button", "GT", type="button", aria_pressed="false", title="Show the original (key G)"),
    )
    caption = tag("figcaption", tag("strong", entry["task"]), " ", tag("span", entry["name"]), _psnr_text(entry))
    stage = tag("div", images, tag("span", class_="divider", aria_hidden="true"), class_="stack")
    return tag("figure", stage, tag("div", controls, class_="controls"), caption, class_="compare")


def _psnr_text(entry: dict) -> Html | None:
    before, after = entry["psnr_lq"], entry["psnr"]
    if before is None or after is None:
        return None
    return tag("span", f"{before:.2f} → {after:.2f} dB ({after - before:+.2f})", class_="number")


def embedding(record: RunRecord) -> Html:
    """t-SNE of the features by task, before and after the method."""
    if not record.embedding:
        return missing(
            "There are no embedded features (report/embedding.json).",
            "python tools/analysis/features.py CONFIG --before CKPT --after CKPT --work-dir WORK_DIR writes them.",
        )
    tasks, maps = record.embedding["tasks"], record.embedding["maps"]
    note = (
        f"t-SNE of the pooled output of block {record.embedding['block']} for crops of the validation pictures, "
        f"{record.embedding['steps']}. Only neighbourhoods mean something in such a map, distances and sizes do not. "
        "The percentage is taken among the features themselves: crops whose nearest crop of another photograph has "
        "their own task."
    )
    charts = [
        scatter(f"{m['title']}: {m['purity']:.0%} beside their own task", m["points"], m["groups"], tasks) for m in maps
    ]
    names = [Series(task, (), (), color=index) for index, task in enumerate(tasks)]
    return join(tag("p", note, class_="note"), tag("div", charts, class_="charts wide"), legend(names))
