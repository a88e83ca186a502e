#!/usr/bin/env bash
# Makes .venv if needed, installs dtir with its test tools, and runs the tests; arguments go to pytest.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"

make_venv
install_dtir tests
say "Running the tests"
cd "$REPO"
# One process per core, a file of tests in one of them; pytest's own -n changes that. `nproc` counts no more cores than
# OMP_NUM_THREADS, so that is set after it was asked.
workers="$(cpu_cores)"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
# Tests start processes of their own, which would compile the package anew each time.
unset PYTHONDONTWRITEBYTECODE
exec "$VENV_PYTHON" -m pytest -n "$workers" --dist loadfile "$@"
