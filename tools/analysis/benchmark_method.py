"""Times every part of the method against a plain fine-tuning step, all in turn in one process.

    python tools/analysis/benchmark_method.py configs/dtir/nafnet_10task_quick.py

"Plain" is a training iteration of the config on its mixed batches without regularizers and adapters. Below, one picture
is restored by the network without adapters, with them, and with one task's folded.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from rich.console import Console
from rich.table import Table

from dtir.cli import exit_code
from dtir.cli.importing import add_import_argument
from dtir.cli.launching import load_config
from dtir.cli.numbers import positive_int
from dtir.engine import StagedRunner
from dtir.measure.timing import WARM_UP_ROUNDS, alternate, seconds_of
from dtir.models.folding import fold
from dtir.registry import CONDITIONING, SCOPE

# Of one turn: two, for what is done every second iteration.
ITERATIONS = 2


def regularized(**regularizer) -> dict:
    """The option that adds one regularizer."""
    return {"train_cfg.regularizers": [regularizer]}


ADAPTER = {"type": "ParallelMoEAdapter"}
VARIANTS: dict[str, dict] = {
    "plain fine-tuning": {},
    "importance": regularized(type="ParameterImportance", before="benchmark", num_samples=8),
    "orthogonality, project": regularized(type="OrthogonalProjection"),
    "orthogonality, loss": regularized(type="OrthogonalityLoss"),
    "orthogonality, loss every 2nd": regularized(type="OrthogonalityLoss", interval=2),
    "layer decay": regularized(type="LayerDecay"),
    "adapters": {"model.network.adapter": ADAPTER},
}


class Turn(Hook):
    """Lets a training run a few iterations at a time."""

    priority = "VERY_HIGH"

    def __init__(self) -> None:
        self.waiting, self.go = threading.Semaphore(0), threading.Semaphore(0)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Waits for its turn."""
        self.waiting.release()
        self.go.acquire()

    def take(self) -> None:
        """Lets the training run for its turn."""
        for _ in range(ITERATIONS):
            self.go.release()
            self.waiting.acquire()


def start_training(config: Config, iters: int, folder: str) -> Turn:
    """Starts a training in a thread of its own and returns when it waits before its first iteration."""
    stage = {"name": "benchmark", "iters": iters, "lr": 1e-4, "generative_share": 0.1}
    config.merge_from_dict(
        {"work_dir": folder, "train_cfg.stages": [stage], "default_hooks.checkpoint.interval": 10**9}
    )
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    config.custom_hooks, config.default_hooks.logger = [{"type": "StageEMAHook"}], None
    config.experiment_name = f"benchmark_{time.time_ns()}"
    turn = Turn()
    runner = StagedRunner.from_cfg(config)
    runner.register_hook(turn)
    threading.Thread(target=runner.train, daemon=True).start()
    turn.waiting.acquire()
    return turn


def iteration_seconds(path: str, rounds: int) -> dict[str, float]:
    """Median seconds of an iteration of each variant."""
    total = rounds + WARM_UP_ROUNDS
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    with tempfile.TemporaryDirectory() as folder:
        turns = {}
        for name, options in VARIANTS.items():
            config = load_config(path)
            config.merge_from_dict({"train_dataloader.num_workers": 1, **options})
            # One more than are run, so that none ends and writes a checkpoint.
            turns[name] = start_training(config, total * ITERATIONS + 1, f"{folder}/{len(turns)}")
        for _ in range(total):
            for name, turn in turns.items():
                seconds[name].append(seconds_of(turn.take) / ITERATIONS)
    return {name: statistics.median(values[WARM_UP_ROUNDS:]) for name, values in seconds.items()}


@torch.inference_mode()
def restoring_seconds(path: str, rounds: int, size: int) -> dict[str, float]:
    """Median seconds of restoring one picture of `size` x `size`."""
    config = load_config(path).model.network
    with DefaultScope.overwrite_default_scope(SCOPE):
        plain = CONDITIONING.build(config)
        adapted = CONDITIONING.build({**config, "adapter": ADAPTER})
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plain, adapted = (network.to(device).eval() for network in (plain, adapted))
    folded = fold(adapted, 7)
    x, t = torch.rand(1, 3, size, size, device=device), torch.tensor([7], device=device)
    return alternate(
        {
            "backbone alone": lambda: plain.backbone(x),
            "without adapters": lambda: plain(x, t),
            "with adapters": lambda: adapted(x, t),
            "adapters folded": lambda: folded(x),
        },
        rounds,
    )


def print_table(title: str, seconds: dict[str, float], reference: str) -> None:
    """Milliseconds and ratios to one of the rows."""
    table = Table("what", "ms", "ratio", title=title)
    for name, value in seconds.items():
        table.add_row(name, f"{1e3 * value:.1f}", f"{value / seconds[reference]:.3f}")
    Console().print(table)


def main() -> None:
    """Runs the measurements and prints two tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config")
    parser.add_argument("--rounds", type=positive_int, default=40, help="measured rounds")
    parser.add_argument("--size", type=positive_int, default=256, help="side of the restored picture")
    add_import_argument(parser)
    args = parser.parse_args()
    threads = f"{torch.get_num_threads()} threads"
    print_table(f"{args.config}: training, {threads}", iteration_seconds(args.config, args.rounds), "plain fine-tuning")
    seconds = restoring_seconds(args.config, args.rounds, args.size)
    print_table(f"{args.config}: restoring {args.size}x{args.size}, {threads}", seconds, "without adapters")


if __name__ == "__main__":
    sys.exit(exit_code(main))
