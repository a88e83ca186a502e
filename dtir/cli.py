"""The `dtir` command. Heavy modules are imported when a sub-command runs, so that `dtir --help` answers at once."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dtir.utils import launch
from dtir.utils.errors import ConfigError, DtirError
from dtir.version import __version__

if TYPE_CHECKING:
    from dtir.apis.folder import RestoreReport

EXIT_FAILED_PICTURES = 1
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        Exit code: 0 all done, 1 some pictures failed, 2 an error of the user's, 130 interrupted.
    """
    args = build_parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except DtirError as error:
        _print_error(f"Error: {error}")
        return EXIT_ERROR
    except KeyboardInterrupt:
        _print_error("Interrupted. Files written so far are complete.")
        return EXIT_INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of all sub-commands; `args.run(args)` runs the chosen one."""
    parser = argparse.ArgumentParser(prog="dtir", description="Train, test and use image-restoration networks.")
    parser.add_argument("--version", action="version", version=f"dtir {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    restore = commands.add_parser("restore", help="restore picture files and folders", description=RESTORE_DESCRIPTION)
    _add_restore_arguments(restore)
    restore.set_defaults(run=run_restore)
    guide = commands.add_parser("guide", help="restore with a known operator, untrained", description=GUIDE_DESCRIPTION)
    _add_guide_arguments(guide)
    guide.set_defaults(run=run_guide)
    train = commands.add_parser("train", help="train a config, or resume its training")
    launch.add_train_arguments(train)
    train.set_defaults(run=launch.run_train)
    test = commands.add_parser("test", help="evaluate a checkpoint on the test data of its config")
    launch.add_test_arguments(test)
    test.set_defaults(run=launch.run_test)
    report = commands.add_parser("report", help="make one HTML page of a training", description=REPORT_DESCRIPTION)
    _add_report_arguments(report)
    report.set_defaults(run=run_report)
    return parser


RESTORE_DESCRIPTION = (
    "Restores pictures with a trained checkpoint. Outputs keep the name, format, bit depth, orientation, transparency "
    "and colour profile of their inputs; sub-folders are mirrored. Outputs that exist are skipped unless --overwrite "
    "is given. Exit code: 0 all done, 1 some pictures failed (the others are restored), 2 wrong use."
)

REPORT_DESCRIPTION = (
    "Makes one HTML page of a training's work folder: curves, tables, charts and pictures. The page needs no other "
    "file and no network; what the folder does not hold is named on it."
)


def _add_report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("work_dir", metavar="WORK_DIR", help="work folder of a training")
    parser.add_argument("--out", metavar="FILE", help="the page (default: report.html in the work folder)")
    parser.add_argument(
        "--compare",
        type=_named_folder,
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="work folder of another run to show beside this one; may be given several times",
    )


def _named_folder(text: str) -> tuple[str, str]:
    name, _, folder = text.partition("=")
    if not name or not folder:
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=DIR, such as baseline=work_dirs/baseline")
    return name, folder


def run_report(args: argparse.Namespace) -> int:
    """Runs `dtir report`; returns 0.

    Raises:
        DtirError: See `write_run_report`; or two runs are of one name.
    """
    from dtir.evaluation.reports.run_report import write_run_report

    names = [name for name, _ in args.compare]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(f"--compare: the name {', '.join(repeated)} is given more than once.")
    print(f"report: {write_run_report(args.work_dir, args.out, dict(args.compare))}")
    return 0


def _add_restore_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="picture file or folder of pictures")
    parser.add_argument("--checkpoint", required=True, metavar="CKPT", help="checkpoint file written by training")
    step = parser.add_mutually_exclusive_group(required=True)
    step.add_argument("--task", metavar="NAME", help="kind of degradation, a name the checkpoint knows, or auto")
    step.add_argument("--t", type=int, metavar="N", help="time step of the network, instead of a task")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the outputs; made if needed")
    parser.add_argument("--recursive", action="store_true", help="also restore pictures in sub-folders")
    parser.add_argument("--overwrite", action="store_true", help="write outputs that exist anew")
    parser.add_argument(
        "--tile",
        type=_tile_size,
        default="auto",
        metavar="N",
        help="side of the tiles in pixels; 'auto' (default): 512 for pictures above 1024 x 1024 pixels; 'whole': none",
    )
    parser.add_argument("--overlap", type=int, default=32, metavar="N", help="pixels tiles share (default 32)")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, ... (default: cuda if there is one)")
    parser.add_argument(
        "--amp", nargs="?", const="bf16", choices=("bf16", "fp16"), help="mixed precision (bf16 if no type is given)"
    )
    parser.add_argument(
        "--self-ensemble", action="store_true", help="average over the 8 flips and turns: 8 times the work"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="steps of a diffusion checkpoint (default: its own)")
    parser.add_argument("--seed", type=int, metavar="N", help="another sample of a diffusion checkpoint")
    parser.add_argument(
        "--colour", action="store_true", help="write grey pictures in colour: for a checkpoint that colours"
    )
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="Python module to import first: one with networks of your own, as in custom_imports of the config; "
        "may be given several times",
    )


GUIDE_DESCRIPTION = (
    "Restores pictures that a known operator has damaged, with the network of a generative training and no training "
    "for the task. INPUT are the measurements as pictures; with --simulate they are clean pictures, which are measured "
    "first. A picture whose size does not fit the operator is cropped at the right and bottom. Outputs are upright RGB "
    "pictures of their input's bit depth, without its metadata."
)


def _add_guide_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="picture file or folder of pictures")
    parser.add_argument("--checkpoint", required=True, metavar="CKPT", help="of a training with generative stages")
    parser.add_argument("--config", required=True, help="operator and guidance, such as configs/training_free/*.py")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the outputs; made if needed")
    parser.add_argument(
        "--simulate", action="store_true", help="INPUT is clean: measure it first, into DIR/measured, and report PSNR"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of the noise, in place of the config's")
    parser.add_argument("--recursive", action="store_true", help="also restore pictures in sub-folders")
    parser.add_argument("--overwrite", action="store_true", help="write outputs that exist anew")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, ... (default: cuda if there is one)")


def run_guide(args: argparse.Namespace) -> int:
    """Runs `dtir guide`; returns 1 if a picture failed, else 0."""
    from dtir.apis.guided import GuidedRestorer, guided_settings
    from dtir.apis.guided_files import guide_paths

    settings = guided_settings(args.config)
    if args.seed is not None:
        settings["seed"] = args.seed
    restorer = GuidedRestorer(args.checkpoint, **settings, device=args.device)
    report, notes = guide_paths(
        restorer, args.inputs, args.out, args.simulate, args.recursive, args.overwrite, progress=True
    )
    for note in notes:
        print(note)
    _print_report(report, args.out)
    return EXIT_FAILED_PICTURES if report.failed else 0


def _tile_size(text: str) -> int | str | None:
    if text in ("auto", "whole"):
        return {"auto": "auto", "whole": None}[text]
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is neither a number of pixels nor 'auto' nor 'whole'") from None


def run_restore(args: argparse.Namespace) -> int:
    """Runs `dtir restore`; returns 1 if a picture failed, else 0."""
    from dtir.apis.inferencer import RestorationInferencer

    _import_modules(args.imports)
    inferencer = RestorationInferencer(
        args.checkpoint,
        args.device,
        args.tile,
        args.overlap,
        args.amp,
        args.self_ensemble,
        num_steps=args.steps,
        seed=args.seed,
        keep_grey=not args.colour,
    )
    report = inferencer.restore_paths(
        args.inputs, args.out, args.task, args.t, args.recursive, args.overwrite, progress=True
    )
    _print_report(report, args.out)
    return EXIT_FAILED_PICTURES if report.failed else 0


def _import_modules(names: Sequence[str]) -> None:
    # An installed command does not look for modules in the present folder by itself.
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"--import {name}: {error}. It must be installed, lie in the present folder or be on PYTHONPATH."
            ) from error


def _print_report(report: "RestoreReport", out: str) -> None:
    print(f"{_pictures(len(report.restored))} restored into {out}")
    if report.skipped:
        print(f"{_pictures(len(report.skipped))} skipped: the output exists; --overwrite writes it anew")
    if report.failed:
        _print_error(f"{len(report.failed)} failed:")
    for path, reason in report.failed:
        _print_error(f"  {reason}" if str(path) in reason else f"  {path}: {reason}")


def _pictures(number: int) -> str:
    return f"{number} picture" if number == 1 else f"{number} pictures"


def _print_error(text: str) -> None:
    from rich.console import Console

    # Paths may hold square brackets, so nothing is markup; soft_wrap keeps them in one piece for copying.
    Console(stderr=True, highlight=False).print(text, style="red", markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
