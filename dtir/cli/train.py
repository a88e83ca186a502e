"""`dtir train` and `tools/train.py`: trains a config, or resumes its training."""

import argparse
import contextlib
import io
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dtir.cli.launching import add_common_arguments, build_runner, prepare, require
from dtir.cli.main import EXIT_INTERRUPTED
from dtir.core.checkpoint_files import check_checkpoint_file

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner

HELP = "train a config, or resume its training"
DESCRIPTION = None
# What a shell says of a process that SIGTERM ended: job systems then run it again.
EXIT_STOPPED = 143
NEWEST = "auto"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of training."""
    parser.add_argument("config", metavar="CONFIG", help="config file")
    parser.add_argument(
        "--resume",
        nargs="?",
        const=NEWEST,
        metavar="CKPT",
        help="go on from this checkpoint, or from the newest in the work folder (no CKPT or 'auto'; from the start if "
        "there is none)",
    )
    parser.add_argument(
        "--amp", nargs="?", const="bf16", choices=("bf16", "fp16"), help="mixed precision (bf16 if no type is given)"
    )
    short = parser.add_mutually_exclusive_group()
    short.add_argument(
        "--smoke",
        action="store_true",
        help="a few iterations of every stage, few matching crops, one odd-sized validation and a report, in DIR or "
        "work_dirs/<name of the config>_smoke; then what the whole would take",
    )
    short.add_argument(
        "--plan", action="store_true", help="only say what the whole would take, by the times of a smoke run"
    )
    add_common_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Trains as the arguments of `add_arguments` say; returns the exit code 0, or 143 where a signal stopped it.

    Raises:
        DtirError: Whatever is the user's to mend.
    """
    if args.resume not in (None, NEWEST):
        check_checkpoint_file(args.resume)
    cfg = prepare(args)
    require(cfg, args.config, "train_dataloader", "train_cfg", "optim_wrapper")
    if args.amp:
        cfg.optim_wrapper.amp = args.amp
    if args.smoke or args.plan:
        return _train_in_small(cfg, args)
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == NEWEST else args.resume
    runner = build_runner(cfg)
    runner.train()
    return _exit_code(runner)


def _exit_code(runner: "Runner") -> int:
    from dtir.engine.hooks import PreemptionHook

    asked = [hook.asked for hook in runner.hooks if isinstance(hook, PreemptionHook) and hook.asked]
    if "SIGINT" in asked:
        return EXIT_INTERRUPTED
    return EXIT_STOPPED if asked else 0


def _train_in_small(cfg: "Config", args: argparse.Namespace) -> int:
    if args.smoke:
        cfg.work_dir = args.work_dir or f"{cfg.work_dir}_smoke"
        print(_smoke(cfg))
        return 0
    print("Measuring the speed by a few iterations of every stage, as --smoke does.", file=sys.stderr, flush=True)
    # What that run prints is of no training, and its files are gone afterwards.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        cfg.work_dir = folder
        text = _smoke(cfg)
    print(text)
    return 0


def _smoke(cfg: "Config") -> str:
    from dtir.engine.smoke import SmokeHook, plan_text, smoke_config
    from dtir.engine.stages import StagePlan
    from dtir.evaluation.reports.run.report import write_run_report

    runner = build_runner(smoke_config(cfg))
    runner.train()
    if runner.val_loop is not None:
        print(f"report: {write_run_report(cfg.work_dir)}")
    hook = next(hook for hook in runner.hooks if isinstance(hook, SmokeHook))
    plan = StagePlan(cfg.train_cfg.stages, len(runner.model.tasks))
    kept = cfg.get("default_hooks", {}).get("checkpoint", {}).get("max_keep", 2) + 1
    validations = plan.validations(cfg.train_cfg.get("val_interval", 0)) if runner.val_loop is not None else 0
    return plan_text(hook.costs(plan), Path(cfg.work_dir), kept, validations, hook.pictures)
