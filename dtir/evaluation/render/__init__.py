"""Tables drawn as Markdown, LaTeX, HTML, and for the terminal, from one `Grid`."""

from .grid import Grid
from .html import html_table
from .latex import latex_table
from .markdown import markdown_table
from .terminal import terminal_table

__all__ = ["Grid", "html_table", "latex_table", "markdown_table", "terminal_table"]
