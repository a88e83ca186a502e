"""Tables in LaTeX."""

import re
from collections.abc import Sequence

from dtir.evaluation.render.grid import Grid

# What pdfLaTeX knows in formulas only.
_SYMBOLS = "±∞≤≥≈→↑↓αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ"
_COMMANDS = (
    "pm infty leq geq approx to uparrow downarrow alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu "
    "nu xi pi rho sigma tau upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega"
)
_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        # Other characters in LaTeX's first font encoding.
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "\N{MINUS SIGN}": "$-$",
        **{character: f"\\{character}" for character in "&%$#_{}"},
        **{character: f"$\\{command}$" for character, command in zip(_SYMBOLS, _COMMANDS.split(), strict=True)},
    }
)
# In text a hyphen stands for it, which is too short.
_MINUS = re.compile(r"(?<![^\s])-(?=\d)")
# Where a row begins so, it is taken for an option of the line break before it.
_OPTIONS = ("[", "*")


def latex_table(grid: Grid) -> str:
    """A `table` with its caption; the document needs the package booktabs."""
    rows = [[_cell(cell, (i, j) in grid.best) for j, cell in enumerate(row)] for i, row in enumerate(grid.rows)]
    lines = [_row(row) for row in ([latex_text(name) for name in grid.header], *rows)]
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


def _row(cells: Sequence[str]) -> str:
    guard = "{}" if cells[0].startswith(_OPTIONS) else ""
    return guard + " & ".join(cells) + r" \\"


def _cell(text: str, bold: bool) -> str:
    escaped = _MINUS.sub("$-$", latex_text(text))
    return rf"\textbf{{{escaped}}}" if bold else escaped


def latex_text(text: str) -> str:
    """The text with the characters escaped that mean something to LaTeX, on one line.

    Letters of other scripts than Latin and Greek stay as they are: they need XeLaTeX or LuaLaTeX and a font of theirs.
    """
    return " ".join(text.split()).translate(_ESCAPES)
