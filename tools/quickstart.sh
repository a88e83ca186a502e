#!/usr/bin/env bash
# From a fresh clone to restored pictures. Run again after an interruption: it goes on from there.
#   bash tools/quickstart.sh                 restores damaged photographs, then teaches the model a new kind of damage
#   bash tools/quickstart.sh --train [ARGS]  trains every stage from scratch; ARGS go to tools/train.py
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"

CONFIG="configs/dtir/nafnet_10task_quick.py"
WORK_DIR="work_dirs/nafnet_10task_quick"
SHOW="work_dirs/quickstart"
MODEL="dtir/assets/models/universal.safetensors"

# Restores the damaged photographs of the package; a run that was interrupted goes on.
show_restoring() {
    say "Step 3 of 4: restoring damaged photographs with the model of the package"
    run_dtir restore dtir/assets/damaged --out "$SHOW/restored" --log "$SHOW/restored.jsonl" \
        --sheet "$SHOW/before_and_after.html"
}

# Teaches the model a damage that it does not know, from a few pairs of pictures.
show_adapting() {
    say "Step 4 of 4: teaching it prints that the sun has bleached, from 20 pairs; some minutes on a CPU"
    run_python_here tools/misc/quickstart_pictures.py faded "$SHOW"
    if [ -e "$SHOW/with_faded.safetensors" ]; then
        say "It has learned them already (to do it anew, remove $REPO/$SHOW/with_faded.safetensors)"
    else
        run_dtir adapt "$MODEL" --pairs "$SHOW/pairs" --name faded --out "$SHOW/with_faded.safetensors" \
            --iters 300 --batch-size 4
    fi
    run_dtir restore "$SHOW/faded" --model "$SHOW/with_faded.safetensors" --task faded --out "$SHOW/faded_restored" \
        --log "$SHOW/faded.jsonl" --sheet "$SHOW/faded_before_and_after.html"
}

train_all() {
    if [ "$("$VENV_PYTHON" -c 'import torch; print(int(torch.cuda.is_available()))')" = 1 ]; then
        say "Step 3 of 3: training every stage on one GPU; the log lines show the time left"
    else
        say "Step 3 of 3: training every stage on the CPU ($(cpu_cores) cores); the log lines show the time left"
    fi
    say "Results and logs go to $REPO/$WORK_DIR; an earlier run there is resumed"
    local before
    before="$(last_checkpoint)"
    # The training ends with this script, whatever ends it, so that it is not there still when the script is run again.
    DTIR_END_WITH_PARENT=1 bash tools/dist_train.sh "$CONFIG" 1 --work-dir "$WORK_DIR" --resume "$@"

    if [ -n "$before" ] && [ "$before" = "$(last_checkpoint)" ]; then
        say "The training was complete already (to do it anew, remove $REPO/$WORK_DIR). Its results:"
        cat "$WORK_DIR/report/results.md"
    fi
    say "Done. Table, matching curves, panel LQ | restored | GT:"
    for file in report/results.md matching/curves.png report/panel.png; do
        say "  $REPO/$WORK_DIR/$file"
    done
    say "To restore your own pictures:"
    say "  $VENV/bin/dtir restore INPUT... --model $REPO/$WORK_DIR/$(last_checkpoint) --task hazy --out restored"
}

last_checkpoint() { cat "$WORK_DIR/last_checkpoint" 2>/dev/null || true; }

run_python_here() { PYTHONPATH="$REPO${PYTHONPATH:+:$PYTHONPATH}" "$VENV_PYTHON" "$@"; }

run_dtir() { run_python_here -m dtir.cli "$@"; }

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
    sed -n '2,4s/^# *//p' "$0"
    exit
fi
if [ "${1:-}" != --train ] && [ $# -gt 0 ]; then
    die "unknown argument '$1'. Without arguments the model of the package is shown; --train [ARGS] trains from scratch."
fi
steps=$([ "${1:-}" = --train ] && echo 3 || echo 4)
say "Step 1 of $steps: the Python environment"
make_venv

say "Step 2 of $steps: the packages"
install_dtir

cd "$REPO"
if [ "${1:-}" = --train ]; then
    shift
    train_all "$@"
    exit
fi
show_restoring
show_adapting
say "Done. Pages of before and after, to be opened in a browser:"
for page in before_and_after.html faded_before_and_after.html; do
    say "  $REPO/$SHOW/$page"
done
say "To restore your own pictures:     $VENV/bin/dtir restore INPUT... --out restored"
say "To train every stage from scratch: bash tools/quickstart.sh --train"
