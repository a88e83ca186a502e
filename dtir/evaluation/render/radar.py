"""Radar charts: over the tasks in one unit, or over several measures, each on a scale of its own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dtir.evaluation.render.html import Html, tag
from dtir.evaluation.render.svg import Axis, Drawing, Series, drawing, finite, line_class, room, short, ticks

# Wide enough for the longest name of a task on either side.
_WIDTH, _HEIGHT = 490, 330
_X, _Y, _RADIUS = _WIDTH / 2, _HEIGHT / 2, 120
# The worst value of a spoke with its own scale stands off the centre, where outlines would meet.
_INNERMOST = 0.25


@dataclass(frozen=True)
class Spoke:
    """A measure of a chart on scales of their own.

    Attributes:
        name: What stands at its end.
        smaller: Whether smaller is better.
    """

    name: str
    smaller: bool = False


def radar(title: str, names: Sequence[str], series: Sequence[Series], inverted: bool = False) -> Drawing:
    """Values of several runs over the same spokes, one scale for all spokes.

    Args:
        title: Caption.
        names: Names of the spokes, at least three.
        series: `x` are indices of spokes and `y` the values there; spokes that are missing are passed over.
        inverted: Larger values lie nearer the centre.

    Raises:
        ValueError: There are under three spokes or there is no finite value.
    """
    values = _values(names, series)
    low, high = room(min(values), max(values), 0.12)
    radius = Axis(high, low, 0, _RADIUS) if inverted else Axis(low, high, 0, _RADIUS)
    rings = ticks(low, high)
    scale = [
        tag("text", short(value), x=_X + 3, y=f"{_Y - radius.at(value):.1f}", dy="-0.15em", class_="scale")
        for value in rings
    ]
    web = _web([(name,) for name in names], [radius.at(value) for value in rings])
    drawn = [web, scale, (_outline(s, [radius] * len(names)) for s in series)]
    return _figure(title, f"{len(names)} tasks", drawn, series)


def scaled_radar(title: str, spokes: Sequence[Spoke], series: Sequence[Series]) -> Drawing:
    """Values in several units: each spoke goes from its worst value, inside, to its best, on the outermost ring.

    Args:
        title: Caption.
        spokes: At least three.
        series: As for `radar`.

    Raises:
        ValueError: There are under three spokes or there is no finite value.
    """
    _values(spokes, series)
    axes = [_own_axis(index, spoke, series) for index, spoke in enumerate(spokes)]
    names = [
        (*spoke.name.split(), f"{axis.low:.4g} to {axis.high:.4g}") for spoke, axis in zip(spokes, axes, strict=True)
    ]
    web = _web(names, [_RADIUS * (_INNERMOST + k * (1 - _INNERMOST) / 3) for k in range(4)])
    drawn = [web, (_outline(s, axes) for s in series)]
    return _figure(title, ", ".join(spoke.name for spoke in spokes), drawn, series)


def _values(names: Sequence, series: Sequence[Series]) -> list[float]:
    values = [y for s in series for y in finite(s)]
    if len(names) < 3 or not values:
        raise ValueError("a radar chart needs three spokes and a finite value.")
    return values


def _own_axis(index: int, spoke: Spoke, series: Sequence[Series]) -> Axis:
    values = [y for s in series for x, y in zip(s.x, s.y, strict=True) if x == index and math.isfinite(y)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low == high:
        low, high = room(low, high, 0)
    worst, best = (high, low) if spoke.smaller else (low, high)
    return Axis(worst, best, _RADIUS * _INNERMOST, _RADIUS)


def _figure(title: str, what: str, drawn: list, series: Sequence[Series]) -> Drawing:
    label = f"{title}; {what}; {', '.join(s.name for s in series)}"
    return drawing(title, (_WIDTH, _HEIGHT), label, drawn, series)


def _polar(index: int, count: int, radius: float) -> tuple[float, float]:
    angle = 2 * math.pi * index / count - math.pi / 2
    return _X + radius * math.cos(angle), _Y + radius * math.sin(angle)


def _web(names: Sequence[Sequence[str]], rings: Sequence[float]) -> list[Html]:
    """Rings at these radii, and spokes with the lines of their names."""
    parts = []
    for ring in rings:
        corners = (_polar(k, len(names), ring) for k in range(len(names)))
        parts.append(tag("polygon", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in corners), class_="grid ring"))
    for k, lines in enumerate(names):
        x, y = _polar(k, len(names), _RADIUS)
        parts.append(tag("line", x1=_X, y1=_Y, x2=f"{x:.1f}", y2=f"{y:.1f}", class_="grid"))
        parts += _name(lines, *_polar(k, len(names), _RADIUS + 10))
    return parts


def _name(lines: Sequence[str], x: float, y: float) -> list[Html]:
    anchor = "middle" if abs(x - _X) < 12 else ("start" if x > _X else "end")
    # Above the centre the last line is the nearest to the spoke, below it the first, beside it the middle one.
    rise = (1 - (y - _Y) / (_RADIUS + 10)) / 2
    first = y - 13 * (len(lines) - 1) * rise
    return [
        tag("text", line, x=f"{x:.1f}", y=f"{first + 13 * k:.1f}", dy="0.32em", text_anchor=anchor)
        for k, line in enumerate(lines)
    ]


def _outline(series: Series, axes: Sequence[Axis]) -> Html:
    points = [(int(k), y) for k, y in zip(series.x, series.y, strict=True) if math.isfinite(y)]
    places = [_polar(k, len(axes), axes[k].at(y)) for k, y in points]
    closed = [*places, places[0]] if places else []
    steps = (f"L{b[0]:.1f} {b[1]:.1f}" for _, b in pairwise(closed))
    start = f"M{closed[0][0]:.1f} {closed[0][1]:.1f}" if closed else ""
    return tag("path", d=start + "".join(steps), class_=line_class(series.color, series.style))
