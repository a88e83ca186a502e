#!/usr/bin/env bash
# Tests a checkpoint in several processes: one per GPU, or that many CPU processes.
# Several machines: NNODES, NODE_RANK, MASTER_ADDR, PORT.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"

[ $# -ge 3 ] || die "usage: bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]"
CONFIG="$1"
CHECKPOINT="$2"
GPUS="$3"
shift 3

launch "$GPUS" "$REPO/tools/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "$@"
