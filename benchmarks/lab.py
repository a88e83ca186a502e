"""What the comparisons of this folder share: trainings that are carried out once, and go on after an interruption."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from dtir.cli.launching import end_with_parent
from dtir.config.text import TextConfig
from dtir.core.atomic import atomic_write
from dtir.core.checkpoint import find_last_checkpoint
from dtir.core.errors import ConfigError
from dtir.evaluation.metrics.functional import to_8_bit

REPO = Path(__file__).resolve().parents[1]
# As tools/_env.sh sets them.
ENVIRONMENT = {
    "GOMP_SPINCOUNT": "20000",
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
}
# Files in the folder of a training: its config, what it said, and one where it has ended.
BEGUN, LOG, TRAINED = "lab.py", "out.log", "trained"
# Exit codes of a training that was asked to end: by Ctrl-C, and by SIGTERM.
STOPPED = (130, 143, -signal.SIGINT, -signal.SIGTERM)
EVALUATION_KEYS = ("val_dataloader", "val_cfg", "val_evaluator", "test_dataloader", "test_cfg", "test_evaluator")


def small_training(config: Config, tasks: list[str], datasets: list[dict], optimizer: dict, seed: int) -> None:
    """Lays over a config what all small runs share: batches of 8 on the given data, and no validation."""
    config.model.tasks = tasks
    config.train_dataloader = {
        "batch_size": 8,
        "num_workers": 1,
        "dataset": {"type": "MultiTaskDataset", "datasets": datasets},
    }
    config.train_cfg.val_interval = 0
    config.optim_wrapper.optimizer, config.optim_wrapper.clip_grad = optimizer, 1.0
    config.merge_from_dict({"default_hooks.checkpoint.interval": 500, "default_hooks.checkpoint.max_keep": 1})
    config.randomness = {"seed": seed}
    for key in EVALUATION_KEYS:
        config[key] = None


def train(config: Config, folder: Path, threads: int) -> Path:
    """Trains a config unless that is done, or goes on with it, in a process of its own.

    Args:
        config: The config.
        folder: Folder of its results.
        threads: Threads of the training.

    Returns:
        The last checkpoint.

    Raises:
        ConfigError: The folder holds a training of another length; or this one fails, or was stopped.
    """
    check_length(folder, _lengths(config))
    done = folder / TRAINED
    if not done.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / BEGUN, "w", encoding="utf-8") as file:
            file.write(TextConfig.of(config).pretty_text)
        command = [sys.executable, str(REPO / "tools/train.py"), str(folder / BEGUN), "--work-dir", str(folder)]
        # Weights to start from are read only while there is nothing to resume.
        command += ["--resume"] if find_last_checkpoint(folder) else []
        _run_to_its_end(command, folder, {**os.environ, **ENVIRONMENT, "OMP_NUM_THREADS": str(threads)})
        done.write_text("", encoding="utf-8")
    return find_last_checkpoint(folder)


def check_length(folder: Path, iters: Sequence[int]) -> None:
    """Raises ConfigError if the training in a folder has stages of other lengths than `iters`."""
    begun = folder / BEGUN
    if begun.is_file():
        found = _lengths(Config.fromfile(begun))
        if found != list(iters):
            raise ConfigError(
                f"'{folder}' holds a training of {_sum(found)} iterations, not {_sum(iters)}; name another folder to "
                "write to, or remove this one."
            )


def _lengths(config: Config) -> list[int]:
    return [stage["iters"] for stage in config.train_cfg.stages]


def _sum(iters: Sequence[int]) -> str:
    return " + ".join(map(str, iters))


def _run_to_its_end(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    log = folder / LOG
    # A training that is asked to end writes a checkpoint first, also when it is this process that has ended.
    stop = partial(end_with_parent, signal.SIGTERM) if os.name == "posix" else None
    with (
        open(log, "a", encoding="utf-8") as file,
        subprocess.Popen(command, env=environment, stdout=file, stderr=file, preexec_fn=stop) as process,
    ):
        try:
            code = process.wait()
        except KeyboardInterrupt:
            # The terminal has asked it, too.
            process.wait()
            raise
    if code in STOPPED:
        raise ConfigError(f"the training in '{folder}' was stopped; run the same command again, and it goes on.")
    if code:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "it wrote nothing")
        raise ConfigError(f"the training in '{folder}' failed (exit code {code}): {last} Its log is '{log}'.")


def markdown(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def picture(rgb: np.ndarray) -> Tensor:
    """(H, W, 3), uint8 or [0, 1], to (1, 3, H, W) of 8 bits in [0, 1]."""
    unit = rgb.astype(np.float64) / 255 if rgb.dtype == np.uint8 else rgb
    return to_8_bit(torch.from_numpy(np.ascontiguousarray(unit)).permute(2, 0, 1)[None])
