#!/usr/bin/env bash
# Trains in several processes: one per GPU, or, on a machine without GPU, that many CPU processes (gloo).
# Several machines: NNODES, NODE_RANK, MASTER_ADDR, PORT.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"

[ $# -ge 2 ] || die "usage: bash tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]"
CONFIG="$1"
GPUS="$2"
shift 2

launch "$GPUS" "$REPO/tools/train.py" "$CONFIG" --launcher pytorch "$@"
