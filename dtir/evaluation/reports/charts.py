"""The charts of a training, for the page and for files of their own."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from dtir.diffusion.matching import MatchingCurve
from dtir.evaluation.metrics.base import AVERAGE
from dtir.evaluation.render.sheet import save_sheet
from dtir.evaluation.render.svg import Drawing, Mark, Series, line_chart

# Of a log line: where it stands, and the machine's times.
_NOT_TERMS = frozenset({"step", "iter", "epoch", "stage", "time", "data_time", "memory"})


def plot_learning_curves(path: str | Path, scalars: Sequence[dict[str, float]]) -> None:
    """Draws every logged term, with the stages marked, and the validation PSNR per task, over the iterations.

    Args:
        path: PNG or SVG to write.
        scalars: The lines of `scalars.json`. Lines of a resumed run may follow in any order.

    Raises:
        ValueError: There is no value in them.
    """
    lines = sorted(scalars, key=lambda line: line["step"])
    charts = learning_charts(lines, stage_ends(lines))
    if not charts:
        raise ValueError("no loss and no PSNR to draw: expected keys 'loss...' or '<task>/PSNR' beside 'step'.")
    save_sheet(path, charts, columns=3)


def plot_matching_curves(
    path: str | Path, curves: Sequence[MatchingCurve], steps: Mapping[str, int] | None = None
) -> None:
    """Draws the score of every degradation over the time steps.

    Args:
        path: PNG or SVG to write.
        curves: One curve per task.
        steps: The step in use by task; None leaves it to each curve's t*.
    """
    save_sheet(path, [matching_chart(curve, (steps or {}).get(curve.task)) for curve in curves], columns=5)


def stage_ends(lines: Sequence[dict]) -> list[int]:
    """Iterations at which stages end, as log lines tell it; the last one excepted."""
    staged = [line for line in lines if "stage" in line]
    return [before["step"] for before, after in pairwise(staged) if before["stage"] != after["stage"]]


def learning_charts(lines: Sequence[dict], boundaries: Sequence[int] = ()) -> list[Drawing]:
    """A chart of every logged term, and one of the validation PSNR by task, over the iterations.

    Args:
        lines: Lines of `scalars.json`, ascending: each holds `step`, and either terms such as losses, or `<task>/PSNR`.
        boundaries: Iterations at which stages end.
    """
    marks = [Mark(step) for step in boundaries]
    terms = _series(lines, lambda key: "/" not in key and key not in _NOT_TERMS)
    psnr = _series(lines, lambda key: key.endswith("/PSNR"))
    charts = [line_chart(term, [Series(term, *values)], marks=marks) for term, values in terms.items()]
    if psnr:
        charts.append(line_chart("validation PSNR in dB", _task_series(psnr), marks=marks))
    return charts


def _series(lines: Sequence[dict], wanted: Callable[[str], bool]) -> dict[str, tuple[list, list]]:
    series: dict[str, dict[float, float]] = {}
    for line in lines:
        for key in filter(wanted, line):
            # Steps that a resumed run did again count once.
            series.setdefault(key, {})[line["step"]] = _value(key, line[key])
    return {key: (list(points), list(points.values())) for key, points in series.items() if _any_finite(points)}


def _value(key: str, value: float) -> float:
    # A loss is logged as 0 where its objective has no share; that is a gap, not a value.
    return float("nan") if key.startswith("loss") and value == 0 else value


def _any_finite(points: dict[float, float]) -> bool:
    return any(value == value and abs(value) != float("inf") for value in points.values())


def _task_series(psnr: dict[str, tuple[list, list]]) -> list[Series]:
    names = [key.removesuffix("/PSNR") for key in psnr]
    styles = ["bold" if name == AVERAGE else "" for name in names]
    return [
        Series(name, *values, color=index, style=style)
        for index, (name, values, style) in enumerate(zip(names, psnr.values(), styles, strict=True))
    ]


def matching_chart(curve: MatchingCurve, used: int | None) -> Drawing:
    """The score of a degradation over the time steps with its spread over pictures; t* and the step in use marked."""
    marks = [Mark(curve.t_star, "star")]
    if used is not None and used != curve.t_star:
        marks.append(Mark(used, "used"))
    line = Series(curve.task, curve.timesteps, curve.mean, spread=curve.std)
    return line_chart(f"{curve.task}: t* = {curve.t_star}", [line], "time step t", marks)
