"""Curves: matched time steps."""

from collections.abc import Sequence
from pathlib import Path

from dtir.diffusion.matching import MatchingCurve
from dtir.utils.atomic import atomic_write


def plot_matching_curves(path: str | Path, curves: Sequence[MatchingCurve]) -> None:
    """Draws the score of every degradation over the time steps, with the spread over pictures and t* marked.

    Args:
        path: PNG to write.
        curves: One curve per task.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(5, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.5 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, curve in zip(figure.subplots(rows, columns, squeeze=False).flat, curves, strict=False):
        _draw(axes, curve)
    for axes in figure.axes[len(curves) :]:
        axes.set_visible(False)
    first = curves[0]
    figure.suptitle(f"time-step matching, method '{first.method}': mean and spread over pictures", fontsize=10)
    figure.supxlabel("time step t", fontsize=9)
    figure.supylabel(f"{first.metric.upper()} of the estimate", fontsize=9)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110)


def _draw(axes, curve: MatchingCurve) -> None:
    low = [m - s for m, s in zip(curve.mean, curve.std, strict=True)]
    high = [m + s for m, s in zip(curve.mean, curve.std, strict=True)]
    axes.fill_between(curve.timesteps, low, high, alpha=0.2)
    axes.plot(curve.timesteps, curve.mean)
    axes.axvline(curve.t_star, color="tab:red", linestyle="--", linewidth=1)
    axes.set_title(f"{curve.task}: t* = {curve.t_star}", fontsize=9)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
