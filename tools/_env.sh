# Shared by the scripts of this folder: finds Python, makes .venv, and installs dtir when something changed.
# To be sourced. Reads from the environment: PYTHON (interpreter for a new .venv), DTIR_VENV (place of .venv).

REPO="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="${DTIR_VENV:-$REPO/.venv}"
VENV_PYTHON="$VENV/bin/python"

say() { printf '[dtir] %s\n' "$*"; }

die() {
    printf '[dtir] ERROR: %s\n' "$*" >&2
    exit 1
}

is_recent_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; }

# Prints the interpreter for a new .venv: $PYTHON, or the first of the usual names that is recent enough.
find_python() {
    local name
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON" >/dev/null || die "PYTHON=$PYTHON is no program; give the path of a Python >= 3.10."
        is_recent_python "$PYTHON" || die "PYTHON=$PYTHON is older than Python 3.10, or does not run."
        printf '%s\n' "$PYTHON"
        return
    fi
    for name in python3 python3.13 python3.12 python3.11 python3.10; do
        if command -v "$name" >/dev/null && is_recent_python "$name"; then
            printf '%s\n' "$name"
            return
        fi
    done
    die "no Python >= 3.10 found. Install one, or give its path: PYTHON=/path/to/python3 bash $0"
}

# Makes .venv, or completes one whose making was interrupted; leaves a working one alone.
make_venv() {
    if "$VENV_PYTHON" -m pip --version >/dev/null 2>&1; then
        is_recent_python "$VENV_PYTHON" || die "$VENV holds a Python older than 3.10; remove that folder and try again."
        say "Using the environment $VENV"
        return
    fi
    local python
    python="$(find_python)" || exit 1
    "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 ||
        die "$python lacks the venv module. On Debian and Ubuntu: sudo apt install python3-venv; then try again."
    say "Making the environment $VENV with $("$python" --version 2>&1)"
    "$python" -m venv "$VENV" || die "could not make $VENV (disk full, or no right to write there?)"
}

# Prints what the installed packages depend on, so that a change of it is noticed.
install_stamp() {
    (cd "$REPO" && { pwd; cat setup.py pyproject.toml requirements/*.txt; } | cksum)
}

# install_dtir [EXTRA...]: pip install -e .[EXTRA,...], left out when nothing changed since the last time.
install_dtir() {
    local extras stamp extra old=""
    extras="$(IFS=,; printf '%s' "$*")"
    stamp="$(install_stamp)"
    for extra in "${@:-}"; do
        [ "$(cat "$(installed_file "$extra")" 2>/dev/null)" = "$stamp" ] || old=1
    done
    if [ -z "$old" ]; then
        say "dtir${extras:+[$extras]} is installed and up to date"
        return
    fi
    say "Installing dtir${extras:+[$extras]} and what it needs (about 6 GB and some minutes the first time)"
    "$VENV_PYTHON" -m pip install --disable-pip-version-check -e "$REPO${extras:+[$extras]}" ||
        die "the installation failed; pip's message is above. Mend that and run the script again."
    # Any extra includes the plain installation.
    for extra in "" "$@"; do
        printf '%s\n' "$stamp" >"$(installed_file "$extra")"
    done
}

# Where the stamp of an extra's installation is kept; without a name, of the plain one.
installed_file() { printf '%s\n' "$VENV/.dtir-installed${1:+-$1}"; }

# Prints the interpreter to run with: .venv's where there is one, then $PYTHON, then python.
run_python() {
    if [ -x "$VENV_PYTHON" ]; then
        printf '%s\n' "$VENV_PYTHON"
    else
        printf '%s\n' "${PYTHON:-python}"
    fi
}

cpu_cores() { nproc 2>/dev/null || getconf _NPROCESSORS_ONLN; }

# launch PROCESSES SCRIPT [ARGS...]: the script in so many processes per machine, through torchrun. Several machines:
# NNODES, NODE_RANK, MASTER_ADDR, PORT, the same on each machine but for NODE_RANK.
launch() {
    local processes="$1" python nodes="${NNODES:-1}" threads
    shift
    case "$processes" in
        '' | *[!0-9]* | 0) die "the number of processes must be an integer >= 1, got '$processes'." ;;
    esac
    python="$(run_python)"
    # Where only this machine takes part, any free port does, and two runs do not collide.
    if [ "$nodes" = 1 ] && [ -z "${PORT:-}" ]; then
        PORT="$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')" ||
            die "cannot run $python; run tools/quickstart.sh first, or set PYTHON."
    fi
    threads=$(($(cpu_cores) / processes))
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((threads > 0 ? threads : 1))}"
    # Threads that spin for long while they wait keep data workers and other programs from the cores, and a step that
    # takes 0.1 s alone can take seconds beside them; after a short spin they sleep.
    export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-20000}"
    # A step frees and takes the same large blocks again; kept by the process, their pages are not cleared every time.
    export MALLOC_MMAP_THRESHOLD_="${MALLOC_MMAP_THRESHOLD_:-1000000000}"
    export MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_:-4000000000}"
    export PYTHONPATH="$REPO${PYTHONPATH:+:$PYTHONPATH}"
    # torchrun hands on the signals that it knows, and then waits; any other, such as Slurm's SIGUSR1, would end it at
    # once, and with it the processes before they have written a checkpoint.
    export PET_SIGNALS_TO_HANDLE="${PET_SIGNALS_TO_HANDLE:-SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1}"
    export PET_SHUTDOWN_TIMEOUT="${PET_SHUTDOWN_TIMEOUT:-120}"
    exec "$python" "$REPO/tools/_torchrun.py" \
        --nnodes="$nodes" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$processes" \
        --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
        "$@"
}
