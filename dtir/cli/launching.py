"""What `tools/train.py`, `tools/test.py` and the `dtir` command share: arguments, config, runner.

Heavy modules are imported when a function runs, so that `--help` answers at once.
"""

import argparse
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dtir.cli.importing import add_import_argument
from dtir.core.atomic import require_writable_folder
from dtir.core.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner

# Sections that are of no use without each other.
TOGETHER = (
    ("train_dataloader", "train_cfg", "optim_wrapper"),
    ("val_dataloader", "val_cfg", "val_evaluator"),
    ("test_dataloader", "test_cfg", "test_evaluator"),
)
LAUNCHERS = ("none", "pytorch", "slurm")
PR_SET_PDEATHSIG = 1


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that training and testing share."""
    parser.add_argument(
        "--work-dir", metavar="DIR", help="folder of logs and results (./work_dirs/<name of the config>)"
    )
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="set keys of the config, by dotted path"
    )
    add_import_argument(parser)
    parser.add_argument("--launcher", choices=LAUNCHERS, default="none", help="what started the processes")
    parser.add_argument("--local-rank", "--local_rank", type=int, default=0, help=argparse.SUPPRESS)


def load_config(
    path: str | Path, cfg_options: Sequence[str] | None = None, work_dir: str | Path | None = None
) -> "Config":
    """Reads and checks a config.

    Args:
        path: The config file.
        cfg_options: `key=value` texts, keys being dotted paths.
        work_dir: Folder of the results; by default that of the config, or `./work_dirs/<name of the config>`.

    Raises:
        ConfigError: See `read_config` and `check_config`.
    """
    from dtir.config.check import check_config
    from dtir.config.files import read_config
    from dtir.engine.schema import SCHEMA

    cfg = read_config(path, cfg_options or ())
    check_config(cfg, SCHEMA, str(path))
    cfg.work_dir = str(work_dir or cfg.get("work_dir") or Path("work_dirs") / Path(path).stem)
    return cfg


def build_runner(cfg: "Config") -> "Runner":
    """Builds the runner that `cfg.runner_type` names, `StagedRunner` if none.

    Raises:
        ConfigError: A section is there without those that belong to it, or the work folder is none or cannot be
            written.
    """
    from dtir.config.blame import blamed
    from dtir.registry import RUNNERS, SCOPE

    _require_whole_sections(cfg)
    require_writable_folder(cfg.work_dir, "--work-dir")
    cfg.setdefault("runner_type", "StagedRunner")
    cfg.setdefault("default_scope", SCOPE)
    if cfg.get("optim_wrapper") is not None:
        cfg.optim_wrapper.setdefault("type", "StagedOptimWrapper")
    with blamed(cfg):
        return RUNNERS.build(cfg)


def _require_whole_sections(cfg: "Config") -> None:
    for parts in TOGETHER:
        given = [key for key in parts if cfg.get(key) is not None]
        if 0 < len(given) < len(parts):
            missing = ", ".join(key for key in parts if key not in given)
            raise ConfigError(f"{cfg.filename}: {', '.join(given)} without {missing}; give all three, or none.")


def prepare(args: argparse.Namespace, options: Sequence[str] = ()) -> "Config":
    """Reads the config that the arguments of `add_common_arguments` name, with further `key=value` options.

    Raises:
        ConfigError: See `load_config`; or there are fewer CUDA devices than processes.
    """
    if args.launcher == "pytorch":
        end_with_parent()
        # For launchers that pass the rank as an argument only.
        os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    _require_devices(args.launcher)
    cfg = load_config(args.config, [*args.cfg_options, *options], args.work_dir)
    cfg.launcher = args.launcher
    return cfg


def _require_devices(launcher: str) -> None:
    """Refuses more processes than CUDA devices: NCCL cannot share one, and mmengine fails before NCCL says so."""
    import torch

    if launcher == "none" or not torch.cuda.is_available():
        return
    rank = os.environ.get("SLURM_LOCALID" if launcher == "slurm" else "LOCAL_RANK", "0")
    # Slurm does not say how many of its tasks are on this machine, but the last one knows its own number.
    processes = max(int(rank) + 1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    devices = torch.cuda.device_count()
    if processes > devices:
        hint = " Slurm's --gpus-per-task hides the others' devices: ask for --gres." if launcher == "slurm" else ""
        raise ConfigError(
            f"{processes} processes on this machine and {devices} CUDA device(s): each process needs one of its own. "
            f"Start at most {devices}, or set CUDA_VISIBLE_DEVICES= (empty) to have all of them on the CPU.{hint}"
        )


def require(cfg: "Config", path: str, *keys: str) -> None:
    """Refuses a config without some top-level keys.

    Raises:
        ConfigError: It names the missing ones.
    """
    missing = [key for key in keys if cfg.get(key) is None]
    if missing:
        raise ConfigError(f"{path}: {', '.join(missing)} missing; see configs/_base_ for parts to build on.")


def end_with_parent(ended_by: signal.Signals = signal.SIGKILL) -> None:
    """Has the system send this process a signal when its parent ends, whatever ends it (Linux only).

    Without this, the processes of a torchrun that was killed train on, beside those of the resumed run.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ended_by)
