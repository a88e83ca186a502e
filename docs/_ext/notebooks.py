"""Notebooks as pages: their text and code, read as Markdown; `tests/test_docs_examples.py` runs them."""

import json
from pathlib import Path

from myst_parser.parsers.sphinx_ import MystParser

DOWNLOAD = "{download}`Download this page as a notebook <%s>`"


def to_markdown(notebook: dict, name: str) -> str:
    """The cells of a notebook as one Markdown text, with a link to the file below its title."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    blocks = [text if kind == "markdown" else f"```python\n{text}\n```" for kind, text in cells]
    return "\n\n".join([blocks[0], DOWNLOAD % name, *blocks[1:]])


class NotebookParser(MystParser):
    """Reads .ipynb files of version 4, whose first cell is Markdown and has the title."""

    supported = ("notebook",)

    def parse(self, inputstring: str, document) -> None:
        """Called by Sphinx with the text of a file."""
        super().parse(to_markdown(json.loads(inputstring), Path(document["source"]).name), document)


def setup(app) -> dict:
    """Called by Sphinx."""
    app.add_source_suffix(".ipynb", "notebook")
    app.add_source_parser(NotebookParser)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
