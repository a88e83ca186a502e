#!/usr/bin/env bash
# Builds the documentation site into docs/_build/html and checks the links within it; a warning is an error. After the
# installation it needs no network. --external checks the links to other sites as well, through the network; --plain
# does not run the examples of the gallery. Other arguments go to sphinx-build.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"

external="" options=(-W --keep-going -q)
for argument in "$@"; do
    case "$argument" in
        --external) external=1 ;;
        --plain) options+=(-D plot_gallery=0) ;;
        *) options+=("$argument") ;;
    esac
done
make_venv
install_dtir docs
cd "$REPO"
say "Building the documentation"
rm -rf docs/api docs/gallery docs/_build
# One page for each package: a page for each module would make the navigation of every page, and the build, many times
# as long.
# What has no docstring is a field, described with its class.
SPHINX_APIDOC_OPTIONS=members,show-inheritance "$VENV_PYTHON" -m sphinx.ext.apidoc -q --module-first --tocfile index --maxdepth 2 \
    --doc-project "API reference" --output-dir docs/api dtir
"$VENV_PYTHON" -m sphinx "${options[@]}" -b html docs docs/_build/html
"$VENV_PYTHON" tools/misc/check_site.py docs/_build/html
if [ -n "$external" ]; then
    say "Checking the links to other sites"
    "$VENV_PYTHON" -m sphinx "${options[@]}" -b linkcheck docs docs/_build/linkcheck ||
        die "links to other sites do not answer: docs/_build/linkcheck/output.txt lists them. Without a network none does."
fi
say "The site: $REPO/docs/_build/html/index.html"
