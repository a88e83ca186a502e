"""Sections of the report page about the training: what it was, how it went, which steps were matched."""

from collections.abc import Sequence
from itertools import pairwise

from dtir.diffusion.matching import MatchingCurve
from dtir.evaluation.render.html import Html, join, table, tag
from dtir.evaluation.reports.charts import learning_charts, matching_chart, stage_ends
from dtir.evaluation.reports.run.record import RunRecord


def missing(*sentences: str) -> Html:
    """What is not there and what makes it."""
    return tag("p", " ".join(sentences), class_="missing")


def summary(record: RunRecord) -> Html:
    """Config, iterations, seed, version, size, stages, and the config's text."""
    if not record.facts:
        return missing(
            "There is no summary of the run (report/run.json).",
            "dict(type='ReportHook') in custom_hooks writes it at every validation of a training.",
        )
    facts = record.facts
    # The summary is as old as the last validation, the log is not.
    reached = max([facts["iter"], *(line["step"] for line in record.scalars[-1:])])
    shown = {
        "Config": facts["config"],
        "Model": facts["model"],
        "Tasks": len(facts["tasks"]),
        "Iterations": f"{reached:,} of {facts['max_iters']:,}",
        "Samples per step": facts["samples_per_step"],
        "Parameters": f"{facts['parameters']:,} ({facts['backbone_parameters']:,} in the backbone)",
        "Seed": facts["seed"],
        "dtir": facts["dtir_version"],
    }
    terms = tag("dl", (tag("div", tag("dt", key), tag("dd", value)) for key, value in shown.items()), class_="facts")
    config = tag("details", tag("summary", "The whole config"), tag("pre", facts["config_text"], tabindex="0"))
    return join(terms, _stage_table(facts, reached), config)


def _stage_table(facts: dict, reached: int) -> Html:
    rows = [
        (
            stage["name"],
            f"{stage['start']:,}",
            f"{stage['end'] - stage['start']:,}",
            f"{stage['lr']:g}",
            stage["schedule"],
            f"{stage['generative_share']:.0%}",
            _state(stage, reached),
        )
        for stage in facts["stages"]
    ]
    header = ("stage", "begins at", "iterations", "peak lr", "schedule", "generative share", "state")
    return table(header, rows, "Stages")


def _state(stage: dict, iteration: int) -> str:
    if iteration >= stage["end"]:
        return "done"
    return "running" if iteration > stage["start"] else "to come"


def learning_curves(record: RunRecord) -> Html:
    """Each logged term and the validation PSNR over the whole run, then stage by stage."""
    if not record.scalars:
        return missing(
            "There is no log of values (*/vis_data/scalars.json).",
            "StageLoggerHook writes it in a training, with dict(type='LocalVisBackend') among visualizer.vis_backends.",
        )
    boundaries = _boundaries(record)
    whole = _charts(record.scalars, boundaries)
    ends = [0, *boundaries, record.scalars[-1]["step"]]
    spans = [(low, high) for low, high in pairwise(ends) if high > low]
    note = "Dotted lines: a stage ends. A term is a gap where its objective has no share in a stage."
    stages = (_stage_details(record, low, high) for low, high in spans) if len(spans) > 1 else None
    return join(tag("p", note, class_="note"), whole, stages)


def _boundaries(record: RunRecord) -> list[int]:
    """Iterations at which stages end, the last one excepted."""
    if record.facts:
        return [stage["end"] for stage in record.facts["stages"][:-1] if stage["end"] < record.scalars[-1]["step"]]
    return stage_ends(record.scalars)


def _stage_details(record: RunRecord, low: int, high: int) -> Html:
    names = {stage["start"]: stage["name"] for stage in record.facts.get("stages", [])}
    lines = [line for line in record.scalars if low < line["step"] <= high]
    name = names.get(low, f"from iteration {low:,}")
    title = tag("summary", f"Stage {name}: iterations {low:,} to {high:,}")
    return tag("details", title, _charts(lines) if lines else missing("No line of the log falls in this stage."))


def _charts(lines: Sequence[dict], boundaries: Sequence[int] = ()) -> Html:
    return tag("div", learning_charts(lines, boundaries), class_="charts")


def matching(record: RunRecord) -> Html:
    """Score over the time steps of each task, with its spread, t* and the step in use."""
    if not record.curves:
        return missing(
            "There are no matching curves (matching/curves.json).",
            "dict(type='TimestepMatchingHook', before='finetune') in custom_hooks writes them when that stage starts.",
        )
    used = {row.name: row.matched_t for row in record.results.rows} if record.results else {}
    first = record.curves[0]
    note = (
        f"{first.metric.upper()} of the estimate over the time step, method '{first.method}': mean over "
        f"{first.num_images} crops; band: one standard deviation. Dashed line: t*; solid line: the step in use, where "
        "it is another."
    )
    charts = [matching_chart(curve, used.get(curve.task)) for curve in record.curves]
    rows = [_matching_row(curve, used.get(curve.task)) for curve in record.curves]
    header = ("task", "t*", "in use", "input", "at t*", "gain", "spread at t*")
    unit = "dB" if first.metric == "psnr" else first.metric
    return join(
        tag("p", note, class_="note"),
        tag("div", charts, class_="charts small"),
        table(header, rows, f"Matched time steps; scores in {unit}"),
    )


def _matching_row(curve: MatchingCurve, used: int | None) -> tuple[str, ...]:
    at = curve.timesteps.index(curve.t_star)
    return (
        curve.task,
        str(curve.t_star),
        "-" if used is None else str(used),
        f"{curve.mean[0]:.2f}",
        f"{curve.mean[at]:.2f}",
        f"{curve.gain:+.2f}",
        f"{curve.std[at]:.2f}",
    )
