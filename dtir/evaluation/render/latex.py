"""Tables in LaTeX."""

from dtir.evaluation.render.grid import Grid

_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)


def latex_table(grid: Grid) -> str:
    """A `table` with its caption; the document needs the package booktabs."""
    lines = [r" & ".join(map(latex_text, row)) + r" \\" for row in (grid.header, *grid.rows)]
    if grid.last_apart and len(grid.rows) > 1:
        lines.insert(-1, r"\midrule")
    return "\n".join(
        [
            r"\begin{table}",
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


def latex_text(text: str) -> str:
    """The text with the characters escaped that mean something to LaTeX."""
    return text.translate(_ESCAPES)
