"""Tables for the terminal."""

from rich.table import Table
from rich.text import Text

from dtir.evaluation.render.grid import Grid


def terminal_table(grid: Grid) -> Table:
    """A table that rich prints, its caption above it."""
    table = Table(title=Text(grid.caption))
    for place, name in enumerate(grid.header):
        table.add_column(Text(name), justify="right" if place else "left")
    for place, row in enumerate(grid.rows):
        if grid.last_apart and place == len(grid.rows) - 1:
            table.add_section()
        table.add_row(*(Text(cell, "bold" if (place, k) in grid.best else "") for k, cell in enumerate(row)))
    return table
