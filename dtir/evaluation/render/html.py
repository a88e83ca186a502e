"""HTML that escapes by construction: text becomes markup only through `tag` and the page's template."""

import base64
import html
from collections.abc import Iterable
from pathlib import Path

from jinja2 import Environment

from dtir.core.assets import ASSETS
from dtir.core.errors import ImageFileError
from dtir.evaluation.render.grid import Grid

_VOID = frozenset({"br", "img", "input", "link", "meta"})
_MIME = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
# Nothing is fetched, whatever a page that was tampered with asks for.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


class Html(str):
    """Text that is markup already."""

    __slots__ = ()

    def __html__(self) -> str:
        """Says to templates that this is not to be escaped."""
        return self


Child = "str | Html | int | float | None | Iterable[Child]"


def tag(name: str, /, *children: Child, **attributes: str | int | float | bool | None) -> Html:
    """An element.

    Args:
        name: Name of the element; a fixed text of the program's, it is not escaped.
        *children: Markup (`Html`) is kept, other text and numbers are escaped, None is nothing, and what can be
            iterated is taken item by item.
        **attributes: `class_` is `class`, other underscores are hyphens. None and False leave the attribute out, True
            is an attribute without a value. Values are escaped.
    """
    start = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    return Html(start if name in _VOID else f"{start}{join(*children)}</{name}>")


def join(*children: Child) -> Html:
    """Children one after another, without an element around them."""
    return Html("".join(_markup(child) for child in children))


def _markup(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, Iterable) and not isinstance(child, str):
        return join(*child)
    return html.escape(str(child))


def _attribute(key: str, value: str | int | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'


def data_uri(path: str | Path) -> str:
    """A picture file as a `data:` address.

    Raises:
        ImageFileError: It cannot be read, or is neither PNG, JPEG nor WebP.
    """
    path = Path(path)
    mime = _MIME.get(path.suffix.lower())
    if mime is None:
        raise ImageFileError(f"'{path}' cannot be put into a page: expected one of {', '.join(_MIME)}.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageFileError(f"cannot read '{path}': {error.strerror or error}. Check the path.") from error
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"


def html_table(grid: Grid) -> Html:
    """A table of text."""
    rows = [
        [tag("b", cell) if (i, j) in grid.best else cell for j, cell in enumerate(r)] for i, r in enumerate(grid.rows)
    ]
    return table(grid.header, rows, grid.caption)


def table(header: Iterable[Child], rows: Iterable[Iterable[Child]], caption: str) -> Html:
    """A table of markup, whose first column names the rows; a row's cells may be `td` elements of their own.

    It scrolls sideways by itself where the screen is narrow, by keyboard as well.
    """
    head = tag("thead", tag("tr", (tag("th", cell, scope="col") for cell in header)))
    body = tag("tbody", (_row(list(row)) for row in rows))
    content = tag("table", tag("caption", caption), head, body)
    return tag("div", content, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _row(cells: list[Child]) -> Html:
    first, *rest = cells
    made = (cell if isinstance(cell, Html) and cell.startswith("<td") else tag("td", cell) for cell in rest)
    return tag("tr", tag("th", first, scope="row"), made)


def page(title: str, head: Child, sections: Iterable[tuple[str, str, Html]]) -> Html:
    """A whole page that fetches nothing.

    Args:
        title: Title of the page.
        head: What stands below the title.
        sections: Id, heading and content of each.
    """
    template = Environment(autoescape=True, keep_trailing_newline=True).from_string(asset("page.html.j2"))
    text = template.render(
        title=title,
        head=join(head),
        sections=list(sections),
        policy=_POLICY,
        style=Html(asset("chart.css") + asset("style.css")),
        script=Html(asset("script.js")),
    )
    return Html(text)


def asset(name: str) -> str:
    """The text of a file that belongs to the page."""
    return (ASSETS / "report" / name).read_text(encoding="utf-8")
