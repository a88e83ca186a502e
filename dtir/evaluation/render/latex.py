"""Tables in LaTeX."""

import re

from dtir.evaluation.render.grid import Grid

_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
        # Older LaTeX has no such character in text.
        "±": r"$\pm$",
    }
)
# In text a hyphen stands for it, which is too short.
_MINUS = re.compile(r"(?<![^\s])-(?=\d)")


def latex_table(grid: Grid) -> str:
    """A `table` with its caption; the document needs the package booktabs."""
    rows = [[_cell(cell, (i, j) in grid.best) for j, cell in enumerate(row)] for i, row in enumerate(grid.rows)]
    lines = [r" & ".join(row) + r" \\" for row in ([latex_text(name) for name in grid.header], *rows)]
    if grid.last_apart and len(grid.rows) > 1:
        lines.insert(-1, r"\midrule")
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex_text(grid.caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(grid.header) - 1)}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _cell(text: str, bold: bool) -> str:
    escaped = _MINUS.sub("$-$", latex_text(text))
    return rf"\textbf{{{escaped}}}" if bold else escaped


def latex_text(text: str) -> str:
    """The text with the characters escaped that mean something to LaTeX."""
    return text.translate(_ESCAPES)
