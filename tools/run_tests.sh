#!/usr/bin/env bash
# Makes .venv if needed, installs dtir with its test tools, and runs the tests; arguments go to pytest.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"

make_venv
install_dtir tests
say "Running the tests"
cd "$REPO"
exec "$VENV_PYTHON" -m pytest "$@"
