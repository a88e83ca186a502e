#!/usr/bin/env bash
# Builds the documentation site into docs/_build/html; a warning is an error. Arguments go to sphinx-build.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"

make_venv
install_dtir docs
cd "$REPO"
say "Building the documentation"
api="docs/api"
rm -rf "$api" docs/_build
"$VENV_PYTHON" -m sphinx.ext.apidoc -q --force --separate --module-first --no-toc --output-dir "$api" dtir
{
    printf '# API reference\n\nBy room, from the top of the house down; see [Architecture](../architecture.md).\n\n'
    printf '```{toctree}\n:maxdepth: 1\n\ndtir\n```\n'
} >"$api/index.md"
"$VENV_PYTHON" -m sphinx -W --keep-going -q -j auto -b html "$@" docs docs/_build/html
say "The site: $REPO/docs/_build/html/index.html"
