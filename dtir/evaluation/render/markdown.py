"""Tables in GitHub's Markdown."""

from dtir.evaluation.render.grid import Grid


def markdown_table(grid: Grid) -> str:
    """Lines of the table, without its caption."""
    rows = [[_cell(cell, (i, j) in grid.best) for j, cell in enumerate(row)] for i, row in enumerate(grid.rows)]
    lines = [f"| {' | '.join(row)} |" for row in ([_cell(name) for name in grid.header], *rows)]
    return "\n".join([lines[0], f"|{'---|' * len(grid.header)}", *lines[1:]])


def _cell(text: str, bold: bool = False) -> str:
    escaped = text.replace("|", r"\|")
    return f"**{escaped}**" if bold else escaped
