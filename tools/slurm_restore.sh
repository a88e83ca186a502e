#!/usr/bin/env bash
# Restores an archive as a Slurm array: every task takes its share of the same pictures and notes it in the same log.
# A task that is requeued, or submitted again, goes on where the log says. From the environment: GPUS_PER_TASK
# (0 without), CPUS_PER_TASK, SBATCH_ARGS (such as "--time 8:00:00 --array 3,7%2", to do some tasks again).
set -euo pipefail
# Slurm runs a copy of a script that it is given: inside of a task, this one is called by its path.
. "$(dirname "${BASH_SOURCE[0]}")/_env.sh"

[ $# -ge 4 ] || die "usage: bash tools/slurm_restore.sh PARTITION TASKS LOG.jsonl INPUT... [options of dtir restore]"
PARTITION="$1"
TASKS="$2"
LOG="$3"
shift 3
case "$TASKS" in
    '' | *[!0-9]* | 0) die "TASKS is the number of parts, an integer >= 1; got '$TASKS'." ;;
esac
GPUS_PER_TASK="${GPUS_PER_TASK:-1}"
CPUS_PER_TASK="${CPUS_PER_TASK:-5}"

if [ -z "${SLURM_ARRAY_TASK_ID:-}" ]; then
    command -v sbatch >/dev/null || die "sbatch is not on the PATH; this script is for Slurm clusters. Otherwise: dtir restore --jobs, or --ray"
    # Quoted for the shell of the task.
    printf -v command '%q ' bash "$REPO/tools/slurm_restore.sh" "$PARTITION" "$TASKS" "$LOG" "$@"
    gpus=""
    [ "$GPUS_PER_TASK" = 0 ] || gpus="--gres=gpu:$GPUS_PER_TASK"
    # SBATCH_ARGS holds several words on purpose; the last --array counts.
    # shellcheck disable=SC2086
    exec sbatch -p "$PARTITION" --job-name=dtir-restore --array="1-$TASKS" --requeue --open-mode=append \
        --ntasks=1 --cpus-per-task="$CPUS_PER_TASK" $gpus ${SBATCH_ARGS:-} --wrap "$command"
fi

[ "$SLURM_ARRAY_TASK_ID" -ge 1 ] && [ "$SLURM_ARRAY_TASK_ID" -le "$TASKS" ] ||
    die "the array's task $SLURM_ARRAY_TASK_ID is none of 1 to $TASKS."
export PYTHONPATH="$REPO${PYTHONPATH:+:$PYTHONPATH}" OMP_NUM_THREADS="${OMP_NUM_THREADS:-$CPUS_PER_TASK}"
exec srun --ntasks=1 --cpus-per-task="$CPUS_PER_TASK" --kill-on-bad-exit=1 \
    "$(run_python)" -u -m dtir.cli restore "$@" --log "$LOG" --share "$SLURM_ARRAY_TASK_ID/$TASKS"
