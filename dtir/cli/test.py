"""`dtir test` and `tools/test.py`: evaluates a checkpoint on the test data of its config."""

import argparse
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dtir.cli.launching import add_common_arguments, build_runner, prepare, require
from dtir.core.atomic import atomic_write, require_writable
from dtir.core.checkpoint_files import check_checkpoint_file
from dtir.core.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config

HELP = "evaluate a checkpoint on the test data of its config"
DESCRIPTION = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
    add_common_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Tests as the arguments of `add_arguments` say; returns the exit code 0.

    Raises:
        DtirError: Whatever is the user's to mend; an output that cannot be written is said before any work.
    """
    if args.out:
        require_writable(args.out, "--out")
    check_checkpoint_file(args.checkpoint)
    from mmengine.dist import is_main_process

    cfg = prepare(args, _test_options(args))
    require(cfg, args.config, "test_dataloader", "test_cfg", "test_evaluator")
    if args.overlap is not None and cfg.model.get("tile") is None:
        raise ConfigError(f"--overlap {args.overlap} is of tiles: give their side too, --tile 512 for example.")
    if args.without:
        cfg.test_evaluator = _left_metrics(cfg.test_evaluator, args.without)
    cfg.load_from = args.checkpoint
    cfg.resume = False
    chosen = {"AutoTaskHook": args.task, "SelfEnsembleHook": args.tta, "SaveImagesHook": args.save_images}
    kinds = [kind for kind, wanted in chosen.items() if wanted]
    cfg.custom_hooks = [*cfg.get("custom_hooks", []), *_missing_hooks(cfg, [*kinds, "TestReportHook", "CostHook"])]
    metrics = build_runner(cfg).test()
    if args.out and is_main_process():
        with atomic_write(args.out, "w", encoding="utf-8") as file:
            json.dump({name: _finite(value) for name, value in metrics.items()}, file, indent=2, allow_nan=False)
    return 0


def _finite(value: float) -> float | None:
    # JSON has no NaN and no infinity.
    return float(value) if math.isfinite(value) else None


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
