"""Figures without a display: what all drawn reports share."""

from pathlib import Path

from dtir.core.atomic import atomic_write


def new_figure(width: float, height: float):
    """A matplotlib figure of width and height in inches, not known to pyplot: no global state, nothing to close."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure, path: str | Path) -> None:
    """Writes the figure as PNG, atomically."""
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110)
