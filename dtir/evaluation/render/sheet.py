"""Charts as a file: the ones of the page, side by side, as SVG, PNG or PDF."""

import io
import re
from collections.abc import Sequence
from pathlib import Path

from dtir.core.atomic import atomic_write
from dtir.core.errors import ConfigError
from dtir.core.extras import needs_extra
from dtir.evaluation.render.html import Html, asset, join, tag
from dtir.evaluation.render.svg import Drawing, Series, swatch_line

_GAP, _TITLE, _LINE = 18, 22, 16
# Of a letter of the legend, on average; wide enough that names do not meet.
_LETTER = 6.4
# Pixels of a PNG for each unit of the drawing: text of 11 units stays readable on a dense screen.
_SCALE = 2.0
_KINDS = (".svg", ".png", ".pdf")


def save_sheet(path: str | Path, charts: Sequence[Drawing], columns: int = 1) -> None:
    """Writes charts in rows of `columns`, each under its title and over its legend, atomically.

    Args:
        path: File to write; its ending says the kind: .svg, .png or .pdf.
        charts: At least one.
        columns: Charts in a row.

    Raises:
        ConfigError: The ending is another one, or a PDF is asked for and the extra `publish` is not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in _KINDS:
        raise ConfigError(f"'{path}': a chart is written as one of {', '.join(_KINDS)}; name such a file.")
    data = _encoded(sheet(charts, columns), path.suffix.lower())
    with atomic_write(path) as file:
        file.write(data)


def _encoded(markup: str, kind: str) -> bytes:
    if kind == ".svg":
        return markup.encode()
    if kind == ".pdf":
        return _pdf(markup)
    import pyvips

    picture = pyvips.Image.svgload_buffer(markup.encode(), scale=_SCALE).flatten(background=255)
    return picture.write_to_buffer(kind)


def _pdf(markup: str) -> bytes:
    with needs_extra("a chart as PDF, and not as SVG or PNG,", "publish"):
        from reportlab.graphics.renderPDF import drawToString
        from svglib.svglib import svg2rlg
    return drawToString(svg2rlg(io.StringIO(markup)))


def sheet(charts: Sequence[Drawing], columns: int = 1) -> str:
    """The charts as one SVG document, in the page's light colours."""
    width = max(_width(chart) for chart in charts)
    parts, top = [], _GAP
    for start in range(0, len(charts), columns):
        row = charts[start : start + columns]
        parts += [_placed(chart, _GAP + place * (width + _GAP), top, width) for place, chart in enumerate(row)]
        top += max(_height(chart, width) for chart in row) + _GAP
    across = _GAP + min(columns, len(charts)) * (width + _GAP)
    ground = tag("rect", width=across, height=top, fill="white")
    size = {"viewBox": f"0 0 {across:g} {top:g}", "width": f"{across:g}", "height": f"{top:g}"}
    return tag("svg", tag("style", Html(light_style())), ground, parts, xmlns="http://www.w3.org/2000/svg", **size)


def light_style() -> str:
    """The page's style of charts with its light colours put in, for programs that know no CSS variables."""
    text = asset("chart.css")
    colours = dict(re.findall(r"--([\w-]+): (#\w+);", text.partition("@media")[0]))
    # The rules begin after the blocks that only set variables.
    rules = text[text.index("svg text") :]
    named = re.sub(r"var\(--([\w-]+)\)", lambda match: colours[match[1]], rules)
    return f"text {{ font-family: sans-serif; }} .title {{ font-weight: bold; font-size: 13px; }}\n{named}"


def _width(chart: Drawing) -> float:
    return max(chart.size[0], 7.2 * len(chart.title))


def _height(chart: Drawing, width: float) -> float:
    return _TITLE + chart.size[1] + _LINE * len(_lines(chart.series, width))


def _placed(chart: Drawing, x: float, y: float, width: float) -> Html:
    title = tag("text", chart.title, x=x, y=y + 13, class_="title")
    picture = tag("g", chart.content, transform=f"translate({x:g} {y + _TITLE:g})")
    below = y + _TITLE + chart.size[1]
    names = (
        _named(series, x + left, below + _LINE * (number + 0.8))
        for number, line in enumerate(_lines(chart.series, width))
        for left, series in line
    )
    return join(title, picture, names)


def _lines(series: Sequence[Series], width: float) -> list[list[tuple[float, Series]]]:
    """The legend in lines: of each entry, where it begins."""
    lines: list[list[tuple[float, Series]]] = []
    left = width
    for entry in series:
        need = 34 + _LETTER * len(entry.name)
        if left + need > width:
            lines.append([])
            left = 0.0
        lines[-1].append((left, entry))
        left += need
    return lines


def _named(series: Series, x: float, y: float) -> Html:
    line = tag("g", swatch_line(series.color, series.style), transform=f"translate({x:g} {y - 8:g})")
    return join(line, tag("text", series.name, x=x + 26, y=y))
