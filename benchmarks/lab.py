"""What the comparisons of this folder share: trainings that are carried out once, and go on after an interruption."""

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from dtir.core.checkpoint import find_last_checkpoint
from dtir.evaluation.metrics.functional import to_8_bit

REPO = Path(__file__).resolve().parents[1]
# As tools/_env.sh sets them.
ENVIRONMENT = {
    "GOMP_SPINCOUNT": "20000",
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
}
# File in a folder whose training has ended.
TRAINED = "trained"
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
    """
    done = folder / TRAINED
    if not done.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        config.dump(folder / "lab.py")
        command = [sys.executable, str(REPO / "tools/train.py"), str(folder / "lab.py"), "--work-dir", str(folder)]
        # Weights to start from are read only while there is nothing to resume.
        command += ["--resume"] if find_last_checkpoint(folder) else []
        environment = {**os.environ, **ENVIRONMENT, "OMP_NUM_THREADS": str(threads)}
        with open(folder / "out.log", "a", encoding="utf-8") as log:
            subprocess.run(command, env=environment, stdout=log, stderr=log, check=True)
        done.write_text("", encoding="utf-8")
    return find_last_checkpoint(folder)


def markdown(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def picture(rgb: np.ndarray) -> Tensor:
    """(H, W, 3), uint8 or [0, 1], to (1, 3, H, W) of 8 bits in [0, 1]."""
    unit = rgb.astype(np.float64) / 255 if rgb.dtype == np.uint8 else rgb
    return to_8_bit(torch.from_numpy(np.ascontiguousarray(unit)).permute(2, 0, 1)[None])
