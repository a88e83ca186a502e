"""`dtir restore`: restores picture files and folders. Heavy modules are imported when the command runs."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dtir.apis.archive.cluster import Cluster
from dtir.apis.archive.share import parse_share
from dtir.apis.restoring.wish import AUTO, MOST_PASSES, Wish
from dtir.cli.importing import add_import_argument
from dtir.cli.output import Shown, print_preview, print_report
from dtir.core.atomic import require_writable
from dtir.core.errors import ConfigError

if TYPE_CHECKING:
    from dtir.apis.inferencer import RestorationInferencer

EXIT_FAILED_PICTURES = 1

HELP = "restore picture files and folders"
DESCRIPTION = (
    "Restores pictures with the model of the package or another one. The damage is estimated unless it is named; a "
    "picture that is clean, unclear or of one colour is copied as it is. Outputs keep the name, format, bit depth, "
    "orientation, transparency and colour profile of their inputs; sub-folders are mirrored. Outputs that exist are "
    "skipped unless --overwrite is given. Exit code: 0 all done, 1 some pictures failed (the others are restored), "
    "2 wrong use."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `dtir restore`."""
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="picture file or folder of pictures")
    add_model_argument(parser)
    parser.add_argument(
        "--task",
        metavar="NAME",
        help="kind of degradation, one of those that dtir models lists for the model, or auto to estimate it (default)",
    )
    parser.add_argument(
        "--prompt",
        metavar="TEXT",
        help='what is to be done in words, instead of --task, --t and --strength: "remove the rain, then brighten it a '
        'little"; what it comes to is printed first',
    )
    parser.add_argument(
        "--t",
        type=_time_step,
        metavar="N|auto",
        help="time step of the network, instead of a task; auto estimates that of each picture, within --task NAME, "
        "for models that were trained to",
    )
    parser.add_argument(
        "--passes", type=int, default=MOST_PASSES, metavar="N", help="most restorations of a picture with auto (3)"
    )
    parser.add_argument("--strength", type=float, default=1.0, metavar="S", help="share of the change, 0 to 1 (1)")
    parser.add_argument(
        "--mask",
        metavar="FILE",
        help="picture that is white where pixels are missing; without --task these are filled and nothing else changes",
    )
    _add_file_arguments(parser.add_argument_group("files"))
    add_network_arguments(parser.add_argument_group("network"))


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--model`, which `dtir.apis.models.names.find_model` reads."""
    parser.add_argument(
        "--model",
        "--checkpoint",
        metavar="NAME|FILE|FOLDER",
        help="a model that dtir models lists, a model file or checkpoint, or the folder of one (default: universal)",
    )


def _add_file_arguments(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--out", default="restored", metavar="DIR", help="folder of the outputs, or the file of one (default: restored)"
    )
    parser.add_argument("--recursive", action="store_true", help="also restore pictures in sub-folders")
    parser.add_argument("--overwrite", action="store_true", help="write outputs that exist anew")
    parser.add_argument("--format", metavar="EXT", help="write png, jpg, tif, webp, ... (default: as each input)")
    parser.add_argument(
        "--suffix", default="", metavar="TEXT", help="added to the outputs' names, before the extension"
    )
    parser.add_argument("--quality", type=int, metavar="Q", help="of JPEG (95), WebP and AVIF (lossless), 1 to 100")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done and how long it would take")
    parser.add_argument(
        "--log",
        metavar="FILE.jsonl",
        help="append a line for every picture: files and hashes, model, what was found and done; run again with the "
        "same log and options, what it says is done is skipped",
    )
    parser.add_argument("--sheet", metavar="FILE.html", help="write a page of the pictures before and after")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="processes, each with the model (1; with --ray all there is room for)"
    )
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="restore on a Ray cluster: HOST:PORT of its head, auto for the one on this machine; without an address "
        "that of $RAY_ADDRESS, the one on this machine, or one of this machine alone",
    )
    parser.add_argument("--ray-dashboard", action="store_true", help="show Ray's page about the run")
    parser.add_argument(
        "--share", default="1/1", metavar="K/N", help="the K-th of N equal parts of the pictures; others do the others"
    )


def add_network_arguments(parser: argparse._ArgumentGroup) -> None:
    """Adds the arguments that `build_inferencer` reads."""
    parser.add_argument(
        "--tile",
        type=_tile_size,
        default="auto",
        metavar="N",
        help="side of the tiles in pixels; 'auto' (default): 512 for pictures above 1024 x 1024 pixels; 'whole': none",
    )
    parser.add_argument("--overlap", type=int, default=32, metavar="N", help="pixels tiles share (default 32)")
    parser.add_argument(
        "--backend",
        choices=("torch", "onnxruntime", "openvino"),
        help="who runs a model that dtir export wrote (default: told by its ending)",
    )
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, ... (default: cuda if there is one)")
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bf16", "fp16"),
        default="float32",
        help="float32 (default); bf16 or fp16, less exact; auto measures, and takes bf16 where it is faster and at "
        "most 1/255 off on average",
    )
    parser.add_argument(
        "--amp", nargs="?", const="bf16", choices=("bf16", "fp16"), action=_Amp, help="earlier name of --precision"
    )
    parser.add_argument(
        "--compile", action="store_true", help="compile the network first, a minute or so: for many pictures"
    )
    parser.add_argument(
        "--encoder",
        metavar="PLACE",
        help="what reads the prompt or the picture for a network that needs it: a folder of a sentence encoder, or a "
        "file of embeddings (InstructIR); DA-CLIP's model (DA-CLIP)",
    )
    parser.add_argument(
        "--self-ensemble",
        action=argparse.BooleanOptionalAction,
        help="average over the 8 flips and turns, 8 times the work (default: as the model says; that of the package "
        "averages small pictures over 4 flips)",
    )
    parser.add_argument("--steps", type=int, metavar="N", help="steps of a diffusion checkpoint (default: its own)")
    parser.add_argument("--seed", type=int, metavar="N", help="another sample of a diffusion checkpoint")
    parser.add_argument(
        "--colour", action="store_true", help="write grey pictures in colour: for a checkpoint that colours"
    )
    add_import_argument(parser)


class _Amp(argparse.Action):
    """Sets the precision, and says how it is named now."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        print(f"{option_string} is deprecated: --precision {values}", file=sys.stderr)
        namespace.precision = values


def _time_step(text: str) -> int | str:
    if text == AUTO:
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is neither a time step nor '{AUTO}'") from None


def _tile_size(text: str) -> int | str | None:
    if text in ("auto", "whole"):
        return {"auto": "auto", "whole": None}[text]
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is neither a number of pixels nor 'auto' nor 'whole'") from None


def _check_sheet(path: str) -> None:
    if not path.lower().endswith((".html", ".htm")):
        raise ConfigError(f"--sheet {path} is no name of a page; it ends in .html.")
    require_writable(path, "--sheet")


def _cluster(args: argparse.Namespace) -> Cluster | None:
    if args.ray is None and args.ray_dashboard:
        raise ConfigError("--ray-dashboard is of a cluster; give --ray as well.")
    if args.ray is None:
        return None
    cluster = Cluster(args.ray or None, args.ray_dashboard)
    cluster.check()
    return cluster


def build_inferencer(model: Path, args: argparse.Namespace) -> "RestorationInferencer":
    """The inferencer that the arguments of the network ask for.

    Raises:
        CheckpointError, ConfigError: see `RestorationInferencer`.
    """
    from dtir.apis.inferencer import RestorationInferencer

    return RestorationInferencer(
        model,
        args.device,
        args.tile,
        args.overlap,
        args.precision,
        args.self_ensemble,
        num_steps=args.steps,
        seed=args.seed,
        keep_grey=not args.colour,
        encoder=args.encoder,
        backend=args.backend,
        compiled=args.compile,
    )


def run(args: argparse.Namespace) -> int:
    """Runs `dtir restore`; returns 1 if a picture failed, else 0."""
    from dtir.apis.models.names import find_model

    # Said before anything heavy is imported.
    wish = Wish(args.task, args.t, args.strength, args.passes, args.prompt)
    cluster, share = _cluster(args), parse_share(args.share)
    model = find_model(args.model)
    if args.sheet and not args.dry_run:
        _check_sheet(args.sheet)
    from dtir.apis.archive.archive import ArchiveOptions
    from dtir.apis.archive.sheet import write_sheet

    inferencer = build_inferencer(model, args)
    if inferencer.choice is not None:
        print(f"precision {inferencer.choice}")
    if wish.prompt is not None:
        print(inferencer.plan(wish.prompt))
    archive = ArchiveOptions(
        args.format, args.suffix, args.quality, args.log, args.jobs, tuple(args.imports), cluster, share
    )
    wanted = (args.inputs, args.out, args.task, args.t, args.recursive, args.overwrite)
    options = {
        "strength": args.strength,
        "passes": args.passes,
        "prompt": args.prompt,
        "mask": args.mask,
        "archive": archive,
    }
    if args.dry_run:
        preview = inferencer.preview_paths(*wanted, **options)
        print_preview(preview)
        return EXIT_FAILED_PICTURES if preview.failed else 0
    shown = Shown(wanted=args.sheet is not None)
    report = inferencer.restore_paths(*wanted, progress=True, on_done=shown.add, **options)
    print_report(report, args.out)
    if args.sheet and shown.pictures:
        print(f"before and after: {write_sheet(args.sheet, shown.pictures, left_out=shown.left_out)}")
    elif args.sheet:
        print(f"no page is written to {args.sheet}: this run has no pictures to show")
    return EXIT_FAILED_PICTURES if report.failed else 0
