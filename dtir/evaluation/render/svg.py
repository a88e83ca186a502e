"""Charts as inline SVG, coloured by the page's style sheet so that they follow its light or dark scheme."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dtir.evaluation.render.html import Html, join, tag

COLORS = 10
_WIDTH, _HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 10, 10, 36
_MOST_POINTS = 400


@dataclass(frozen=True)
class Series:
    """A line: values over positions; a value that is not finite is a gap.

    Attributes:
        name: Name in the legend.
        x: Positions, ascending.
        y: Values.
        color: Number of the colour; they repeat after `COLORS`.
        style: Further CSS class, such as "bold" or "dashed".
        spread: Half widths of a band around the line.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    color: int = 0
    style: str = ""
    spread: Sequence[float] | None = None


class Drawing(Html):
    """A chart as a figure of the page, which keeps its parts, so that a file can show the same chart.

    Attributes:
        title: Caption.
        size: Width and height of the picture.
        content: Markup inside the picture.
        series: What its legend names; empty without one.
    """

    title: str
    size: tuple[float, float]
    content: Html
    series: Sequence[Series]


@dataclass(frozen=True)
class Mark:
    """A vertical line at a position."""

    x: float
    style: str = "boundary"


@dataclass(frozen=True)
class Axis:
    """A range of values on a stretch of the picture."""

    low: float
    high: float
    start: float
    stop: float

    def at(self, value: float) -> float:
        """Where a value lies."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers in [low, high], low < high, in the largest steps of 1, 2 or 5 times a power of ten that give three.

    Fewer would not show what the scale is.
    """
    power = 10 ** math.floor(math.log10(high - low))
    steps = (m * power for m in (5, 2, 1, 0.5, 0.2, 0.1))
    return next(values for values in (_multiples(step, low, high) for step in steps) if len(values) >= 3)


def _multiples(step: float, low: float, high: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def short(value: float) -> str:
    """A number of a tick, in few characters."""
    return f"{value:g}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.0e}"


def line_chart(title: str, series: Sequence[Series], x_label: str = "iteration", marks: Sequence[Mark] = ()) -> Drawing:
    """A figure of lines, its caption being the title, with a legend where there is more than one line.

    Args:
        title: What the values are.
        series: At least one, with at least one finite value in all.
        x_label: What the positions are.
        marks: Vertical lines.

    Raises:
        ValueError: There is no finite value.
    """
    x_axis, y_axis = _axes(series, marks)
    drawn = [
        _grid(x_axis, y_axis, x_label),
        (tag("line", **_vertical(x_axis.at(mark.x)), class_=f"mark {mark.style}") for mark in marks),
        (_line(s, x_axis, y_axis) for s in series),
    ]
    ends = ", ".join(f"{s.name} {short(round(_last(s), 4))}" for s in series if finite(s))
    label = f"{title} over {x_label}; last values: {ends}"
    return drawing(title, (_WIDTH, _HEIGHT), label, drawn, series if len(series) > 1 else ())


def drawing(
    title: str,
    size: tuple[float, float],
    label: str,
    content: Iterable,
    series: Sequence[Series] = (),
    scrolls: bool = False,
) -> Drawing:
    """A chart.

    Args:
        title: Caption.
        size: Width and height.
        label: What a screen reader says.
        content: Markup inside the picture.
        series: What the legend names; none without them.
        scrolls: Whether the page shows it at its own width, under a bar to scroll with.
    """
    content = join(content)
    picture = svg(*size, label, content, style=f"width:{size[0]}px" if scrolls else None)
    if scrolls:
        picture = tag("div", picture, class_="scroll", tabindex="0", role="region", aria_label=title)
    names = legend(series) if series else None
    made = Drawing(tag("figure", tag("figcaption", title), picture, names, class_="chart"))
    made.title, made.size, made.content, made.series = title, size, content, tuple(series)
    return made


def legend(series: Iterable[Series]) -> Html:
    """Names of lines beside their colours."""
    return tag("ul", (tag("li", swatch(s.color, s.style), s.name) for s in series), class_="legend")


def swatch(color: int, style: str = "") -> Html:
    """A bit of a line for a legend."""
    return tag("svg", swatch_line(color, style), viewBox="0 0 22 10", aria_hidden="true", class_="swatch")


def swatch_line(color: int, style: str = "") -> Html:
    """The line of a swatch, in a field of 22 x 10."""
    return tag("line", x1=1, y1=5, x2=21, y2=5, class_=line_class(color, style))


def svg(width: float, height: float, label: str, content: Iterable, **attributes: str) -> Html:
    """A drawing that a screen reader reads as `label`."""
    box = f"0 0 {width:g} {height:g}"
    return tag("svg", tag("title", label), content, viewBox=box, role="img", aria_label=label, **attributes)


def finite(series: Series) -> list[float]:
    """The values of a line that are finite."""
    return [y for y in series.y if math.isfinite(y)]


def _last(series: Series) -> float:
    return finite(series)[-1]


def _axes(series: Sequence[Series], marks: Sequence[Mark]) -> tuple[Axis, Axis]:
    xs = [x for s in series for x in s.x] + [mark.x for mark in marks]
    ys = [
        y + side * width
        for s in series
        for y, width in zip(s.y, s.spread or [0] * len(s.y), strict=True)
        for side in (-1, 1)
        if math.isfinite(y)
    ]
    if not ys:
        raise ValueError("no finite value to draw.")
    return (
        Axis(*room(min(xs), max(xs), 0), _LEFT, _WIDTH - _RIGHT),
        Axis(*room(min(ys), max(ys), 0.06), _HEIGHT - _BOTTOM, _TOP),
    )


def room(low: float, high: float, share: float) -> tuple[float, float]:
    """A range with `share` of it added at both ends."""
    spread = high - low
    # Equal values, up to what a float64 tells apart, stand in the middle.
    if spread <= 1e-9 * max(abs(low), abs(high), 1e-9):
        around = max(abs(low) * 0.05, 1e-6)
        return low - around, high + around
    return low - share * spread, high + share * spread


def _vertical(x: float) -> dict[str, str]:
    return {"x1": f"{x:.1f}", "x2": f"{x:.1f}", "y1": _TOP, "y2": _HEIGHT - _BOTTOM}


def _grid(x_axis: Axis, y_axis: Axis, x_label: str) -> list[Html]:
    parts = []
    for value in ticks(y_axis.low, y_axis.high):
        y = f"{y_axis.at(value):.1f}"
        parts.append(tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", short(value), x=_LEFT - 5, y=y, dy="0.32em", text_anchor="end"))
    for value in ticks(x_axis.low, x_axis.high):
        x = f"{x_axis.at(value):.1f}"
        parts.append(tag("text", short(value), x=x, y=_HEIGHT - _BOTTOM + 14, text_anchor="middle"))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return [*parts, tag("text", x_label, x=middle, y=_HEIGHT - 5, text_anchor="middle")]


def _line(series: Series, x_axis: Axis, y_axis: Axis) -> list[Html | None]:
    every = max(1, -(-len(series.x) // _MOST_POINTS))
    points = list(zip(series.x, series.y, series.spread or [0] * len(series.x), strict=True))
    # The last one always, as it is what the text below speaks of.
    kept = points[::every] if (len(points) - 1) % every == 0 else [*points[::every], points[-1]]
    runs = _runs(kept)
    kind = line_class(series.color, series.style)
    bands = [_band(run, x_axis, y_axis, series.color) for run in runs] if series.spread else []
    return [*bands, *(_stroke(run, x_axis, y_axis, kind) for run in runs)]


def _runs(points: Sequence[tuple[float, float, float]]) -> list[list[tuple[float, float, float]]]:
    runs: list[list[tuple[float, float, float]]] = [[]]
    for point in points:
        if math.isfinite(point[1]):
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _stroke(run: Sequence[tuple[float, float, float]], x_axis: Axis, y_axis: Axis, kind: str) -> Html:
    if len(run) == 1:
        x, y = _place(*run[0][:2], x_axis, y_axis)
        return tag("circle", cx=x, cy=y, r=2.5, class_=f"dot {kind}")
    places = (" ".join(_place(x, y, x_axis, y_axis)) for x, y, _ in run)
    return tag("path", d="M" + "L".join(places), class_=kind)


def _band(run: Sequence[tuple[float, float, float]], x_axis: Axis, y_axis: Axis, color: int) -> Html:
    upper = [_place(x, y + width, x_axis, y_axis) for x, y, width in run]
    lower = [_place(x, y - width, x_axis, y_axis) for x, y, width in reversed(run)]
    return tag("path", d="M" + "L".join(map(" ".join, upper + lower)) + "Z", class_=f"band f{color % COLORS}")


def _place(x: float, y: float, x_axis: Axis, y_axis: Axis) -> tuple[str, str]:
    return f"{x_axis.at(x):.1f}", f"{y_axis.at(y):.1f}"


def line_class(color: int, style: str) -> str:
    """CSS classes of a line."""
    return f"line s{color % COLORS} {style}".strip()


def scatter(title: str, points: Sequence[tuple[float, float]], groups: Sequence[int], names: Sequence[str]) -> Drawing:
    """Points in the plane, both axes to one scale and without numbers.

    Args:
        title: Caption.
        points: At least one.
        groups: Index of each point's name, which gives its colour.
        names: Names of the groups.
    """
    size = 320
    middle = [(max(p[k] for p in points) + min(p[k] for p in points)) / 2 for k in (0, 1)]
    reach = max(abs(p[k] - middle[k]) for p in points for k in (0, 1)) * 1.06 or 1
    axes = [Axis(m - reach, m + reach, 0, size) for m in middle]
    dots = (
        tag(
            "circle",
            tag("title", names[group]),
            cx=f"{axes[0].at(p[0]):.1f}",
            cy=f"{axes[1].at(p[1]):.1f}",
            r=4,
            class_=f"point f{group % COLORS}",
        )
        for p, group in zip(points, groups, strict=True)
    )
    frame = tag("rect", x=0.5, y=0.5, width=size - 1, height=size - 1, class_="frame")
    return drawing(title, (size, size), f"{title}: {len(points)} points of {len(names)} tasks", [frame, dots])


def heatmap(
    title: str, rows: Sequence[str], columns: Sequence[str], shares: Sequence[Sequence[float]], group: int
) -> Drawing:
    """A map of shares in [0, 1]: the darker, the larger.

    Args:
        title: Caption.
        rows: Names of the rows.
        columns: Names of the columns.
        shares: (rows, columns).
        group: Columns between lines that set groups apart.
    """
    cell, side, left = max(6, min(22, 900 // len(columns))), 22, 110
    marks = [
        tag(
            "rect",
            tag("title", f"{row}, {column}: {share:.3f}"),
            x=left + j * cell,
            y=i * side,
            width=cell,
            height=side - 1,
            fill_opacity=f"{share:.3f}",
            class_="cell",
        )
        for i, (row, values) in enumerate(zip(rows, shares, strict=True))
        for j, (column, share) in enumerate(zip(columns, values, strict=True))
    ]
    names = [tag("text", name, x=left - 6, y=(i + 0.68) * side, text_anchor="end") for i, name in enumerate(rows)]
    height = side * len(rows)
    lines = [
        tag("line", x1=left + j * cell, x2=left + j * cell, y1=0, y2=height, class_="grid")
        for j in range(0, len(columns) + 1, group)
    ]
    width = left + cell * len(columns) + 2
    return drawing(title, (width, height), title, [marks, lines, names], scrolls=True)


def matrix(title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> Drawing:
    """A map of cells with a text each: the darker, the larger its share.

    Args:
        title: Caption.
        columns: Names of the columns.
        rows: Name of each row, and of each of its cells the text and the share in [0, 1].
    """
    width, height, left, top = max(56, *(7.2 * len(name) for name in columns)), 24, 130, 24
    drawn: list[Html] = []
    for i, (row, cells) in enumerate(rows):
        y = top + i * height
        drawn.append(tag("text", row, x=left - 6, y=y + 16, text_anchor="end"))
        for j, (text, share) in enumerate(cells):
            place = {"x": left + j * width, "y": y, "width": width - 1, "height": height - 1}
            drawn.append(tag("rect", **place, fill_opacity=f"{share:.3f}", class_="cell"))
            drawn.append(tag("text", text, x=left + (j + 0.5) * width, y=y + 16, text_anchor="middle"))
    heads = [tag("text", c, x=left + (j + 0.5) * width, y=16, text_anchor="middle") for j, c in enumerate(columns)]
    size = (left + width * len(columns) + 2, top + height * len(rows))
    return drawing(title, size, title, [drawn, heads], scrolls=True)
