"""What `tools/train.py`, `tools/test.py` and the `dtir` command share: arguments, config, runner.

Heavy modules are imported when a function runs, so that `--help` answers at once.
"""

import argparse
import ctypes
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dtir.utils.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner

LAUNCHERS = ("none", "pytorch", "slurm")
NEWEST = "newest"
PR_SET_PDEATHSIG = 1


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of training."""
    parser.add_argument("config", metavar="CONFIG", help="config file")
    parser.add_argument(
        "--resume",
        nargs="?",
        const=NEWEST,
        metavar="CKPT",
        help="go on from this checkpoint, or from the newest in the work folder (from the start if there is none)",
    )
    parser.add_argument(
        "--amp", nargs="?", const="bf16", choices=("bf16", "fp16"), help="mixed precision (bf16 if no type is given)"
    )
    _add_common_arguments(parser)


def add_test_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of testing."""
    parser.add_argument("config", metavar="CONFIG", help="config file")
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="checkpoint file written by training")
    parser.add_argument("--out", metavar="FILE", help="write the metrics to this JSON file as well")
    parser.add_argument("--task", choices=("auto",), help="estimate every picture's task in place of the data's")
    parser.add_argument("--save-images", action="store_true", help="write every restored picture to report/images")
    parser.add_argument("--tta", action="store_true", help="average over the 8 flips and turns: 8 times the work")
    parser.add_argument("--tile", type=int, metavar="N", help="restore in tiles of N x N pixels (whole pictures)")
    parser.add_argument("--overlap", type=int, metavar="N", help="pixels that tiles share (32)")
    parser.add_argument(
        "--without",
        nargs="+",
        default=[],
        metavar="METRIC",
        help="leave these out of test_evaluator, LPIPS for example",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="leave out pictures that an interrupted test of this checkpoint, config and options has measured",
    )
    _add_common_arguments(parser)


def _add_common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--work-dir", metavar="DIR", help="folder of logs and results (./work_dirs/<name of the config>)"
    )
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="set keys of the config, by dotted path"
    )
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
    from dtir.utils.config_check import check_config
    from dtir.utils.config_files import read_config

    cfg = read_config(path, cfg_options or ())
    check_config(cfg, str(path))
    cfg.work_dir = str(work_dir or cfg.get("work_dir") or Path("work_dirs") / Path(path).stem)
    return cfg


def build_runner(cfg: "Config") -> "Runner":
    """Builds the runner that `cfg.runner_type` names, `StagedRunner` if none."""
    from dtir.registry import RUNNERS, SCOPE

    cfg.setdefault("runner_type", "StagedRunner")
    cfg.setdefault("default_scope", SCOPE)
    return RUNNERS.build(cfg)


def run_train(args: argparse.Namespace) -> int:
    """Trains as the arguments of `add_train_arguments` say; returns the exit code 0.

    Raises:
        DtirError: Whatever is the user's to mend.
    """
    cfg = _prepare(args)
    _require(cfg, args.config, "train_dataloader", "train_cfg", "optim_wrapper")
    if args.amp:
        cfg.optim_wrapper.amp = args.amp
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == NEWEST else args.resume
    build_runner(cfg).train()
    return 0


def run_test(args: argparse.Namespace) -> int:
    """Tests as the arguments of `add_test_arguments` say; returns the exit code 0.

    Raises:
        DtirError: Whatever is the user's to mend.
    """
    from mmengine.dist import is_main_process

    from dtir.utils.atomic import atomic_write

    cfg = _prepare(args, _test_options(args))
    _require(cfg, args.config, "test_dataloader", "test_cfg", "test_evaluator")
    if args.overlap is not None and cfg.model.get("tile") is None:
        raise ConfigError(f"--overlap {args.overlap} is of tiles: give their side too, --tile 512 for example.")
    if args.without:
        cfg.test_evaluator = _left_metrics(cfg.test_evaluator, args.without)
    cfg.load_from = args.checkpoint
    cfg.resume = False
    chosen = {"AutoTaskHook": args.task, "SelfEnsembleHook": args.tta, "SaveImagesHook": args.save_images}
    kinds = [kind for kind, wanted in chosen.items() if wanted]
    cfg.custom_hooks = [*cfg.get("custom_hooks", []), *_missing_hooks(cfg, [*kinds, "TestReportHook"])]
    metrics = build_runner(cfg).test()
    if args.out and is_main_process():
        with atomic_write(args.out, "w", encoding="utf-8") as file:
            json.dump({name: float(value) for name, value in metrics.items()}, file, indent=2)
    return 0


def _test_options(args: argparse.Namespace) -> list[str]:
    """What arguments set in the config: as options, so that a loop or model of the config's own that has no such
    argument is named by the config check."""
    settings = {
        "test_cfg.resume": args.resume or None,
        "model.tile": args.tile,
        "model.tile_overlap": args.overlap,
    }
    return [f"{key}={value}" for key, value in settings.items() if value is not None]


def _left_metrics(evaluator: dict | Sequence[dict], without: Sequence[str]) -> list[dict]:
    """The metrics of a test without those of some types."""
    metrics = evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]
    present = [str(metric.get("type")) for metric in metrics]
    for kind in without:
        if kind not in present:
            raise ConfigError(
                f"--without {kind}: test_evaluator has no metric of that type, only {', '.join(present)}."
            )
    return [metric for metric, kind in zip(metrics, present, strict=True) if kind not in without]


def _missing_hooks(cfg: "Config", kinds: Sequence[str]) -> list[dict]:
    """Configs of the hooks that a config does not have already, perhaps with settings of its own."""
    present = {str(hook.get("type")).rpartition(".")[2] for hook in cfg.get("custom_hooks", [])}
    return [{"type": kind} for kind in kinds if kind not in present]


def _prepare(args: argparse.Namespace, options: Sequence[str] = ()) -> "Config":
    if args.launcher == "pytorch":
        end_with_parent()
        # For launchers that pass the rank as an argument only.
        os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    cfg = load_config(args.config, [*args.cfg_options, *options], args.work_dir)
    cfg.launcher = args.launcher
    return cfg


def _require(cfg: "Config", path: str, *keys: str) -> None:
    missing = [key for key in keys if cfg.get(key) is None]
    if missing:
        raise ConfigError(f"{path}: {', '.join(missing)} missing; see configs/_base_ for parts to build on.")


def end_with_parent() -> None:
    """Has the system kill this process when its parent ends, whatever ends it (Linux only).

    Without this, the processes of a torchrun that was killed train on, beside those of the resumed run.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
