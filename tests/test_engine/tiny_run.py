"""Runs of the tiny config, in this process or in others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from dtir.core.checkpoint import load_checkpoint
from dtir.engine import StagedRunner

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "tests" / "configs" / "tiny_3task.py"

# Options of runs that are to show one thing: training alone, and steps that are minus the learning rate times the
# gradient. Unlike Adam's they show a gradient that is too large or too small.
BARE = {"custom_hooks": [], "val_cfg": None, "val_dataloader": None, "val_evaluator": None}
PLAIN = {"optim_wrapper.optimizer": {"type": "SGD", "lr": 1.0}, "optim_wrapper.clip_grad": None}

# What several processes ask for: NCCL cannot share a device.
SEVERAL_PROCESSES = pytest.mark.skipif(torch.cuda.device_count() == 1, reason="needs two CUDA devices, or none")


def tiny_config(work_dir: Path, path: Path = CONFIG, **options) -> Config:
    config = Config.fromfile(path)
    config.work_dir = str(work_dir)
    config.experiment_name = f"tiny_{work_dir.name}_{len(os.listdir(work_dir)) if work_dir.is_dir() else 0}"
    config.merge_from_dict(options)
    return config


def train(work_dir: Path, path: Path = CONFIG, **options) -> StagedRunner:
    runner = StagedRunner.from_cfg(tiny_config(work_dir, path, **options))
    runner.train()
    return runner


def built(work_dir: Path, path: Path = CONFIG, **options) -> StagedRunner:
    """A runner with its training loop, which has not begun."""
    runner = StagedRunner.from_cfg(tiny_config(work_dir, path, **options))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    return runner


def train_command(work_dir: Path, *arguments: str, processes: int = 1) -> list[str]:
    launcher = [sys.executable]
    extra = []
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        extra = ["--launcher", "pytorch"]
    return [*launcher, str(ROOT / "tools" / "train.py"), str(CONFIG), "--work-dir", str(work_dir), *extra, *arguments]


def run_process(command: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def last_state(work_dir: Path) -> dict:
    name = (work_dir / "last_checkpoint").read_text()
    return load_checkpoint(work_dir / name)


def flat_state(state: dict, prefix: str = "") -> dict:
    """Nested state as one flat dict of tensors and plain values."""
    flat = {}
    for key, value in state.items():
        if isinstance(value, dict):
            flat.update(flat_state(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def training_state(checkpoint: dict) -> dict:
    return flat_state({key: checkpoint[key] for key in ("state_dict", "ema_state_dict", "optimizer")})


def assert_same_state(first: dict, second: dict) -> None:
    first, second = training_state(first), training_state(second)
    assert first.keys() == second.keys()
    different = [
        key
        for key, value in first.items()
        if not (torch.equal(value, second[key]) if isinstance(value, torch.Tensor) else value == second[key])
    ]
    assert different == []
