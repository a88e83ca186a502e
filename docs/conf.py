"""Settings of the documentation site: `bash tools/build_docs.sh` builds it, without the network."""

import builtins
import sys
from pathlib import Path

from sphinx import addnodes

from dtir.version import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "dtir"
author = "The dtir authors"
copyright = author
release = version = __version__

extensions = [
    "myst_parser",
    "notebooks",
    "mathml",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
# What the gallery writes beside its pages is for downloading.
exclude_patterns = ["_build", "_ext", "examples", "gallery/*.ipynb", "gallery/*.zip"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# Of the extra app, without which the rest of the site is to build.
autodoc_mock_imports = ["fastapi", "gradio", "uvicorn"]
# There are none, and looking for them reads the source of every function once more.
autodoc_use_type_comments = False
# What a package only passes on is described where it is written.
autodoc_default_options = {"members": True, "show-inheritance": True, "ignore-module-all": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_attr_annotations = True
# Attributes of a docstring are a list, not objects beside those of the class body.
napoleon_use_ivar = True

# Every page has the contents of all of them beside it: with each class and method in these, a fifth of the build's time
# went into copying them.
toc_object_entries = False
# Names of ours must lead somewhere; of types in prose, such as "Pictures", and of type variables, there is no page.
nitpicky = True
nitpick_ignore_regex = [("py:class", r"[^.]*"), ("py:(class|obj)", r"dtir\..*\.(T|Result)")]

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "min_reported_time": 60,
    "show_signature": False,
    "write_computation_times": False,
}


def _from_markdown(app, what, name, obj, options, lines: list[str]) -> None:
    """Our docstrings have code between single backticks and bars for absolute values; Sphinx reads both otherwise."""
    parts = "\n".join(lines).split("`")
    if len(parts) % 2:
        parts[::2] = [part.replace("|", "\\|") for part in parts[::2]]
        # Where a word goes on right after code, as in "`Stage`s", Sphinx wants to be told that the code ends.
        parts[2::2] = ["\\ " + part if part[:1].isalnum() else part for part in parts[2::2]]
        lines[:] = "``".join(parts).split("\n")


def _only_ours_are_links(app, doctree) -> None:
    """Names of Python and of other packages are text: their documentation is elsewhere, and the site is built without
    the network. Sphinx would look through all of ours for them, and take the type `bytes` for an attribute.
    """
    for node in list(doctree.findall(addnodes.pending_xref)):
        name = node.get("reftarget", "")
        foreign = hasattr(builtins, name) or ("." in name and not name.startswith("dtir."))
        if node.get("refdomain") == "py" and foreign:
            node.replace_self(node.children)


def setup(app) -> None:
    """Called by Sphinx; before napoleon, which has the usual priority of 500."""
    app.connect("autodoc-process-docstring", _from_markdown, priority=400)
    app.connect("doctree-read", _only_ours_are_links)


html_theme = "furo"
html_title = f"dtir {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_search_scorer = str(Path(__file__).parent / "_ext" / "search_scorer.js")
# For `bash tools/build_docs.sh --external`; the links of the site itself are checked in every build.
linkcheck_timeout = 20
linkcheck_retries = 2
