#!/usr/bin/env bash
# Runs the tests that need the extras app, onnx and openvino; arguments go to pytest. The extras go into an environment
# of their own above .venv, and the tests into one process: with them in .venv itself, workers of tools/run_tests.sh
# ended by SIGSEGV now and then, in tests that have nothing to do with them.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"

EXTRAS=(app onnx openvino)
TESTS=(
    tests/test_app/test_page.py
    tests/test_apis/test_export
    tests/test_tools/test_analysis.py::test_exported_network_computes_the_same
)

packages_of() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

make_venv
install_dtir tests
cd "$REPO"
above="$VENV/extras"
stamp="$(install_stamp)"
if [ "$(cat "$above/.installed" 2>/dev/null)" != "$stamp" ]; then
    say "Installing the extras ${EXTRAS[*]} and playwright into $above"
    rm -rf "$above"
    "$VENV_PYTHON" -m venv "$above" || die "could not make $above (disk full, or no right to write there?)"
    # What .venv holds is seen from there, dtir itself too, and is not installed again.
    below="$(packages_of "$VENV_PYTHON")"
    packages="$(packages_of "$above/bin/python")"
    printf 'import site; site.addsitedir("%s")\n' "$below" >"$packages/below.pth"
    requirements=("${EXTRAS[@]/#/--requirement=requirements/}")
    "$above/bin/python" -m pip install --disable-pip-version-check -q "${requirements[@]/%/.txt}" playwright ||
        die "the installation failed; pip's message is above. Mend that and run the script again."
    printf '%s\n' "$stamp" >"$above/.installed"
fi
say "Running the tests of the extras ${EXTRAS[*]}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec "$above/bin/python" -m pytest "${TESTS[@]}" "$@"
