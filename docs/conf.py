"""Settings of the documentation site: `bash tools/build_docs.sh` builds it."""

from dtir.version import __version__

project = "dtir"
author = "The dtir authors"
copyright = author
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
]
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# What a package only passes on is described where it is written.
autodoc_default_options = {"members": True, "show-inheritance": True, "ignore-module-all": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_attr_annotations = True
# Attributes of a docstring are a list, not objects beside those of the class body.
napoleon_use_ivar = True


def _from_markdown(app, what, name, obj, options, lines: list[str]) -> None:
    """Our docstrings have code between single backticks and bars for absolute values; Sphinx reads both otherwise."""
    parts = "\n".join(lines).split("`")
    if len(parts) % 2:
        parts[::2] = [part.replace("|", "\\|") for part in parts[::2]]
        lines[:] = "``".join(parts).split("\n")


def setup(app) -> None:
    """Called by Sphinx; before napoleon, which has the usual priority of 500."""
    app.connect("autodoc-process-docstring", _from_markdown, priority=400)


html_theme = "furo"
html_title = f"dtir {release}"
html_static_path = []
