"""`dtir train` and `tools/train.py`: trains a config, or resumes its training."""

import argparse

from dtir.cli.launching import add_common_arguments, build_runner, prepare, require
from dtir.core.checkpoint_files import check_checkpoint_file

HELP = "train a config, or resume its training"
DESCRIPTION = None
NEWEST = "newest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
    add_common_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Trains as the arguments of `add_arguments` say; returns the exit code 0.

    Raises:
        DtirError: Whatever is the user's to mend.
    """
    if args.resume not in (None, NEWEST):
        check_checkpoint_file(args.resume)
    cfg = prepare(args)
    require(cfg, args.config, "train_dataloader", "train_cfg", "optim_wrapper")
    if args.amp:
        cfg.optim_wrapper.amp = args.amp
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == NEWEST else args.resume
    build_runner(cfg).train()
    return 0
