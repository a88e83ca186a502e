#!/usr/bin/env bash
# From a fresh clone to a trained model and restored pictures. Run again after an interruption: it goes on from there.
# Arguments go to tools/train.py.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"

CONFIG="configs/dtir/nafnet_10task_quick.py"
WORK_DIR="work_dirs/nafnet_10task_quick"

say "Step 1 of 3: the Python environment"
make_venv

say "Step 2 of 3: the packages"
install_dtir

cd "$REPO"
if [ "$("$VENV_PYTHON" -c 'import torch; print(int(torch.cuda.is_available()))')" = 1 ]; then
    say "Step 3 of 3: training every stage on one GPU; the log lines show the time left"
else
    say "Step 3 of 3: training every stage on the CPU ($(cpu_cores) cores); the log lines show the time left"
fi
say "Results and logs go to $REPO/$WORK_DIR; an earlier run there is resumed"
last_checkpoint() { cat "$WORK_DIR/last_checkpoint" 2>/dev/null || true; }
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
say "  $VENV/bin/dtir restore INPUT... --checkpoint $REPO/$WORK_DIR/$(last_checkpoint) --task hazy --out restored"
