#!/usr/bin/env bash
# Trains under Slurm, one task per GPU.
# From the environment: GPUS (in all), GPUS_PER_NODE, CPUS_PER_TASK, SRUN_ARGS.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"

[ $# -ge 4 ] || die "usage: [GPUS=8] bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of tools/train.py]"
PARTITION="$1"
JOB_NAME="$2"
CONFIG="$3"
WORK_DIR="$4"
shift 4
GPUS="${GPUS:-8}"
GPUS_PER_NODE="${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}"
CPUS_PER_TASK="${CPUS_PER_TASK:-5}"

command -v srun >/dev/null || die "srun is not on the PATH; this script is for Slurm clusters. Otherwise: tools/dist_train.sh"
export PYTHONPATH="$REPO${PYTHONPATH:+:$PYTHONPATH}"
# SRUN_ARGS holds several words on purpose.
# shellcheck disable=SC2086
exec srun -p "$PARTITION" --job-name="$JOB_NAME" --gres="gpu:$GPUS_PER_NODE" \
    --ntasks="$GPUS" --ntasks-per-node="$GPUS_PER_NODE" --cpus-per-task="$CPUS_PER_TASK" \
    --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "$(run_python)" -u "$REPO/tools/train.py" "$CONFIG" --work-dir="$WORK_DIR" --launcher=slurm "$@"
