"""Times one training step of a config: the plain backbone, with time conditioning, and the share of loading data.

Usage: python tools/analysis/benchmark_train.py CONFIG [--steps N] [--workers N]
Prints the median seconds per step of the bare backbone and of the conditioned network (forward, backward, optimiser,
on the same synthetic batch, alternating), their ratio, and the seconds that a step waits for data.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import torch
from mmengine.config import Config
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from dtir.cli import exit_code
from dtir.cli.importing import add_import_argument
from dtir.cli.launching import load_config
from dtir.cli.numbers import natural, positive_int
from dtir.engine import StagedRunner
from dtir.measure.timing import WARM_UP_ROUNDS, alternate, synchronize


def train_step(forward: Callable[[Tensor], Tensor], module: nn.Module, batch: Tensor) -> Callable[[], None]:
    """A function that does one step of `forward`: forward, backward, optimiser."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, foreach=True)

    def step() -> None:
        (forward(batch) - batch).abs().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def data_seconds(config: Config, steps: int) -> tuple[float, float]:
    """Median seconds that an iteration of the config's first stage waits for data, and takes in all."""
    from dtir.engine.hooks.logger import StageLoggerHook

    waits, totals = [], []

    class Stopwatch(StageLoggerHook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            synchronize()
            waits.append(runner.train_loop.data_time)
            totals.append(time.perf_counter() - self._since)
            self._since = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        stage = {
            **config.train_cfg.stages[-1],
            "name": "benchmark",
            "iters": steps + WARM_UP_ROUNDS,
            "per_task": False,
            "tasks": "all",
        }
        stage["warmup_iters"] = 0
        config.merge_from_dict({"work_dir": folder, "train_cfg.stages": [stage], "resume": False})
        config.val_dataloader = config.val_cfg = config.val_evaluator = None
        config.custom_hooks = []
        config.default_hooks.logger = config.default_hooks.preemption = None
        runner = StagedRunner.from_cfg(config)
        runner.register_hook(Stopwatch())
        runner.train()
    return statistics.median(waits[WARM_UP_ROUNDS:]), statistics.median(totals[WARM_UP_ROUNDS:])


def main() -> None:
    """Runs the measurements and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config")
    parser.add_argument("--steps", type=positive_int, default=40, help="measured steps of each kind")
    parser.add_argument("--workers", type=natural, default=2, help="data workers")
    add_import_argument(parser)
    args = parser.parse_args()
    config = load_config(args.config, [f"train_dataloader.num_workers={args.workers}"])

    with tempfile.TemporaryDirectory() as folder:
        config.work_dir = folder
        model = StagedRunner.from_cfg(config).model
    network, device = model.network.train(), model.matched_t.device
    patch = config.train_dataloader.dataset.datasets[0].patch
    batch = torch.rand(config.train_dataloader.batch_size, 3, patch, patch, device=device)
    batch = batch.contiguous(memory_format=model.data_preprocessor.memory_format)
    t = torch.randint(0, model.num_timesteps, (len(batch),), device=device)
    plain = type(network.backbone)
    backbone = plain(**{k: v for k, v in config.model.network.backbone.items() if k != "type"}).to(device).train()
    seconds = alternate(
        {
            "plain backbone": train_step(backbone, backbone, batch),
            "with time conditioning": train_step(lambda x: network(x, t), network, batch),
        },
        args.steps,
    )
    wait, whole = data_seconds(config, args.steps)

    table = Table(
        title=f"{args.config}: batch {len(batch)}, patch {patch}, {device}, {torch.get_num_threads()} threads"
    )
    for column in ("what", "ms / step", "ratio"):
        table.add_column(column, justify="left" if column == "what" else "right")
    reference = seconds["plain backbone"]
    for name, value in seconds.items():
        table.add_row(name, f"{1e3 * value:.1f}", f"{value / reference:.3f}")
    table.add_row("training iteration", f"{1e3 * whole:.1f}", f"{whole / reference:.3f}")
    table.add_row(
        f"  of it waiting for data ({args.workers} workers)", f"{1e3 * wait:.2f}", f"{wait / whole:.3f} of it"
    )
    Console().print(table)


if __name__ == "__main__":
    sys.exit(exit_code(main))
