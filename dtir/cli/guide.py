"""`dtir guide`: restores pictures that a known operator has damaged, with the network of a generative training."""

import argparse
from pathlib import Path

from dtir.cli.importing import add_import_argument
from dtir.cli.output import print_report
from dtir.cli.restore import EXIT_FAILED_PICTURES
from dtir.core.checkpoint_files import check_checkpoint_file
from dtir.core.errors import ConfigError

HELP = "undo a known damage, such as a mask, without training for it"
DESCRIPTION = (
    "Restores pictures that a known operator has damaged, with the network of a generative training and no training "
    "for the task. INPUT are the measurements as pictures; with --simulate they are clean pictures, which are measured "
    "first. A picture whose size does not fit the operator is cropped at the right and bottom. Outputs are RGB, "
    "with the bit depth, orientation and metadata of their input; what is not kept is said."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `dtir guide`."""
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="picture file or folder of pictures")
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="CKPT",
        help="of a training with generative stages, or a published denoiser",
    )
    parser.add_argument("--config", required=True, help="operator and guidance, such as configs/training_free/*.py")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the outputs; made if needed")
    parser.add_argument(
        "--simulate", action="store_true", help="INPUT is clean: measure it first, into DIR/measured, and report PSNR"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of the noise, in place of the config's")
    parser.add_argument(
        "--samples",
        type=int,
        default=1,
        metavar="K",
        help="write the mean of K samples, nearer to the truth and smoother; one of them into DIR/one_sample",
    )
    parser.add_argument("--recursive", action="store_true", help="also restore pictures in sub-folders")
    parser.add_argument("--overwrite", action="store_true", help="write outputs that exist anew")
    add_import_argument(parser)
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, ... (default: cuda if there is one)")


def run(args: argparse.Namespace) -> int:
    """Runs `dtir guide`; returns 1 if a picture failed, else 0."""
    if not (Path(args.checkpoint) / "model_index.json").is_file():
        check_checkpoint_file(args.checkpoint)
    from dtir.apis.guided.files import guide_paths
    from dtir.apis.guided.restorer import GuidedRestorer, guided_settings
    from dtir.core.denormals import flush_denormals

    if args.samples < 1:
        raise ConfigError(f"--samples {args.samples}: expected a number of at least 1.")
    settings = guided_settings(args.config)
    if args.seed is not None:
        settings["seed"] = args.seed
    flush_denormals()
    restorer = GuidedRestorer(args.checkpoint, **settings, device=args.device)
    report, notes = guide_paths(
        restorer, args.inputs, args.out, args.simulate, args.recursive, args.overwrite, True, args.samples
    )
    for note in notes:
        print(note)
    print_report(report, args.out)
    return EXIT_FAILED_PICTURES if report.failed else 0
