"""Tables as Markdown and as LaTeX."""

from collections.abc import Sequence

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of a table in GitHub's Markdown."""
    cells = [[cell.replace("|", r"\|") for cell in row] for row in (header, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], f"|{'---|' * len(header)}", *lines[1:]])


def latex_table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with a caption in LaTeX; the document needs the package booktabs.

    The last row stands apart, below a rule.
    """
    lines = [r" & ".join(map(latex_text, row)) + r" \\" for row in (header, *rows)]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{latex_text(caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:-1],
            r"\midrule",
            lines[-1],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def latex_text(text: str) -> str:
    """The text with the characters escaped that mean something to LaTeX."""
    return text.translate(_LATEX)
