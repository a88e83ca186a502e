"""A table as text, before it is drawn."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Grid:
    """Cells of text; the first column names the rows.

    Attributes:
        header: Header of the columns.
        rows: Cells, as many in each row as in the header.
        caption: What the table shows.
        last_apart: Whether the last row is set apart, such as an average.
        best: Cells that are shown bold, as (row, column).
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    last_apart: bool = False
    best: Set[tuple[int, int]] = field(default_factory=frozenset)
