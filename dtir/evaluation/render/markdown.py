"""Tables in GitHub's Markdown."""

from dtir.evaluation.render.grid import Grid


def markdown_table(grid: Grid) -> str:
    """Lines of the table, without its caption."""
    cells = [[cell.replace("|", r"\|") for cell in row] for row in (grid.header, *grid.rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], f"|{'---|' * len(grid.header)}", *lines[1:]])
