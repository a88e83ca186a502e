"""Curves: matched time steps, and the course of a training."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from dtir.diffusion.matching import MatchingCurve
from dtir.evaluation.metrics.base import AVERAGE
from dtir.evaluation.reports.canvas import new_figure, save_figure


def plot_matching_curves(
    path: str | Path, curves: Sequence[MatchingCurve], steps: Mapping[str, int] | None = None
) -> None:
    """Draws the score of every degradation over the time steps, with the spread over pictures and its step marked.

    Args:
        path: PNG to write.
        curves: One curve per task.
        steps: The step in use by task; None marks each curve's t*.
    """
    steps = {curve.task: curve.t_star for curve in curves} if steps is None else steps
    columns = min(5, len(curves))
    rows = -(-len(curves) // columns)
    figure = new_figure(3.2 * columns, 2.5 * rows)
    for axes, curve in zip(figure.subplots(rows, columns, squeeze=False).flat, curves, strict=False):
        _draw(axes, curve, steps[curve.task])
    for axes in figure.axes[len(curves) :]:
        axes.set_visible(False)
    first = curves[0]
    figure.suptitle(f"time-step matching, method '{first.method}': mean and spread over pictures", fontsize=10)
    figure.supxlabel("time step t", fontsize=9)
    figure.supylabel(f"{first.metric.upper()} of the estimate", fontsize=9)
    save_figure(figure, path)


def plot_learning_curves(path: str | Path, scalars: Sequence[dict[str, float]]) -> None:
    """Draws the losses, with the stages marked, and the validation PSNR per task, over the iterations.

    Args:
        path: PNG to write.
        scalars: The lines of `scalars.json`: each holds `step`, and either losses (`loss...`) and the index of the
            `stage`, or `<task>/PSNR` and `average/PSNR`. Lines of a resumed run may follow in any order.

    Raises:
        ValueError: There is neither a loss nor a PSNR in them.
    """
    lines = sorted(scalars, key=lambda line: line["step"])
    losses = _series(lines, lambda key: key.startswith("loss"))
    psnrs = _series(lines, lambda key: key.endswith("/PSNR"))
    if not losses and not psnrs:
        raise ValueError("no loss and no PSNR to draw: expected keys 'loss...' or '<task>/PSNR' beside 'step'.")
    figure = new_figure(13, 4.5)
    left, right = figure.subplots(1, 2, sharex=True)
    _draw_losses(left, losses, lines)
    _draw_psnrs(right, psnrs)
    for axes in (left, right):
        axes.set_xlabel("iteration", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=7, ncols=2)
    save_figure(figure, path)


def _series(lines: Sequence[dict], wanted: Callable[[str], bool]) -> dict[str, tuple[list, list]]:
    series: dict[str, tuple[list, list]] = {}
    for line in lines:
        for key in filter(wanted, line):
            steps, values = series.setdefault(key, ([], []))
            steps.append(line["step"])
            values.append(line[key])
    return series


def _draw_losses(axes, losses: dict[str, tuple[list, list]], lines: Sequence[dict]) -> None:
    # A loss is logged as 0 where its objective has no share; that is a gap, not a value. Losses in dB are negative, so
    # the scale is linear.
    for key, (steps, values) in losses.items():
        axes.plot(steps, [v if v != 0 else float("nan") for v in values], linewidth=1, label=key)
    staged = [line for line in lines if "stage" in line]
    for before, after in pairwise(staged):
        if after["stage"] != before["stage"]:
            axes.axvline(before["step"], color="gray", linestyle=":", linewidth=1)
    axes.set_title("losses; dotted: a stage ends", fontsize=10)


def _draw_psnrs(axes, psnrs: dict[str, tuple[list, list]]) -> None:
    for key, (steps, values) in psnrs.items():
        task = key.removesuffix("/PSNR")
        style = {"color": "black", "linewidth": 2.5} if task == AVERAGE else {"linewidth": 1}
        axes.plot(steps, values, marker="o", markersize=3, label=task, **style)
    axes.set_title("validation PSNR in dB", fontsize=10)


def _draw(axes, curve: MatchingCurve, step: int) -> None:
    low = [m - s for m, s in zip(curve.mean, curve.std, strict=True)]
    high = [m + s for m, s in zip(curve.mean, curve.std, strict=True)]
    axes.fill_between(curve.timesteps, low, high, alpha=0.2)
    axes.plot(curve.timesteps, curve.mean)
    axes.axvline(step, color="tab:red", linestyle="--", linewidth=1)
    used = "" if step == curve.t_star else f", used {step}"
    axes.set_title(f"{curve.task}: t* = {curve.t_star}{used}", fontsize=9)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
