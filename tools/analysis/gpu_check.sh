#!/usr/bin/env bash
# What only a GPU can show, in under 10 minutes: bash tools/analysis/gpu_check.sh OUT
#
# The tests that train and restore on a GPU where there is one, speed against float32 eager, and a timed training of the
# universal model, which goes on from the network of the packaged one. Everything goes to OUT, in files of less than 16
# MB. It needs no network: torch, mmengine, OpenCV and the rest of requirements/runtime.txt are there, or lie in vendor/
# (pip install --target vendor/ -r requirements/runtime.txt). A part that fails does not stop the others; the exit code
# is then 1.
#
# Environment: DTIR_DATA (clean/, train_pairs/), PYTHON, TRAIN_STEPS (of the two stages: "900 600"), TRAIN_BATCH (160: on
# an H200 a step of 40 took 0.1 s, for most of which it waited for Python), TRAIN_SECONDS (240; 0 for none),
# TEST_SECONDS (100), TRAIN_OPTIONS (--cfg-options, such as load_from=), TEST_OPTIONS (of pytest, such as "-n 12"), and
# for trying the script on a small machine SPEED_OPTIONS (of precision_speed).
set -uo pipefail

OUT="${1:?usage: bash tools/analysis/gpu_check.sh OUT}"
REPO="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
mkdir -p "$OUT"
OUT="$(cd "$OUT" && pwd)"
cd "$REPO" || exit 1

PYTHON="${PYTHON:-python3}"
read -r FIRST SECOND <<<"${TRAIN_STEPS:-900 600}"
CONFIG=configs/models/universal_nafnet_gpu_longer.py
if [ -z "${DTIR_DATA:-}" ]; then
    for folder in shared/data ../shared/data data; do
        [ -d "$folder/clean" ] && DTIR_DATA="$(cd "$folder" && pwd)" && break
    done
fi
export DTIR_DATA="${DTIR_DATA:-data}" PYTHONPATH="$REPO:$REPO/vendor${PYTHONPATH:+:$PYTHONPATH}"
failed=0
# Weights and checkpoints of the training, which are larger than what may be handed back.
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# part NAME SECONDS COMMAND...: runs a part into OUT/NAME.log and remembers whether it failed.
part() {
    local name="$1" limit="$2" start=$SECONDS code
    shift 2
    timeout --signal=TERM --kill-after=20 "$limit" "$@" >"$OUT/$name.log" 2>&1
    code=$?
    printf '%s: exit code %s, %s s\n' "$name" "$code" "$((SECONDS - start))" | tee -a "$OUT/summary.txt"
    [ "$code" -eq 0 ] || failed=1
    return "$code"
}

: >"$OUT/summary.txt"
part machine 30 "$PYTHON" -c 'import os, cv2, mmengine, numpy, torch
print("torch", torch.__version__, "mmengine", mmengine.__version__, "OpenCV", cv2.__version__, "numpy", numpy.__version__)
print("cores", os.cpu_count(), "GPU", torch.cuda.get_device_name() if torch.cuda.is_available() else "none")' ||
    cat "$OUT/machine.log"
cat "$OUT/machine.log"

# shellcheck disable=SC2086
part tests "${TEST_SECONDS:-100}" "$PYTHON" -m pytest ${TEST_OPTIONS:-} tests/test_apis/test_restoring \
    tests/test_imaging/test_tiling.py tests/test_evaluation/test_functional.py tests/test_engine
tail -n 25 "$OUT/tests.log"

# shellcheck disable=SC2086
part speed 160 "$PYTHON" -m tools.analysis.precision_speed configs/models/universal_nafnet.py --out "$OUT/speed.json" \
    ${SPEED_OPTIONS:-}
tail -n 6 "$OUT/speed.log"

if [ "${TRAIN_SECONDS:-240}" != 0 ]; then
    part start 20 "$PYTHON" tools/misc/unpack.py dtir/assets/models/universal.safetensors "$work/start.pth" \
        --without-parts
    # shellcheck disable=SC2086
    part training "${TRAIN_SECONDS:-240}" "$PYTHON" tools/train.py "$CONFIG" --work-dir "$work" --cfg-options \
        "load_from=$work/start.pth" "train_dataloader.batch_size=${TRAIN_BATCH:-160}" \
        "train_cfg.stages.0.iters=$FIRST" "train_cfg.stages.1.iters=$SECOND" ${TRAIN_OPTIONS:-}
    tail -n 2 "$OUT/training.log"
fi

# A training that ran out of time leaves its last checkpoint, whose averaged weights can be used all the same.
if [ -f "$work/last_checkpoint" ]; then
    checkpoint="$work/$(cat "$work/last_checkpoint")"
    part weights 30 "$PYTHON" -m dtir.cli models pack "$checkpoint" "$OUT/universal_nafnet.safetensors"
    split -b 15M "$checkpoint" "$OUT/checkpoint.pth.part-"
    printf 'To go on: cat checkpoint.pth.part-* > checkpoint.pth, then train.py %s --resume checkpoint.pth\n' "$CONFIG" \
        >>"$OUT/summary.txt"
    [ -d "$work/report" ] && find "$work/report" -type f -size -15M -exec cp {} "$OUT" \;
fi
find "$OUT" -type f -size +16M -print -delete | sed 's/^/too large, left out: /' | tee -a "$OUT/summary.txt"
exit "$failed"
