"""Fits NIQE's model of pristine pictures on clean photographs of yours.

    python tools/misc/fit_niqe.py PHOTOS niqe_ours.npz

PHOTOS is a folder of clean photographs, sub-folders included: a hundred or more of 96x96 pixels or larger, neither
noisy nor blurred nor strongly compressed, and none of those that NIQE is to judge. A config reads the model with
`dict(type="NIQE", parameters="niqe_ours.npz")`. Its values are comparable among themselves, and neither with published
ones nor with those of another model.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from dtir.cli import exit_code
from dtir.core.atomic import require_writable_folder
from dtir.core.errors import ConfigError, DatasetError
from dtir.evaluation.metrics.pristine import fit_pristine_model, sharp_features, write_pristine_model
from dtir.imaging.listing import list_images


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the model; returns the exit code.

    Raises:
        DtirError: Whatever is the user's to mend.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", metavar="PHOTOS", help="folder of clean photographs, with its sub-folders")
    parser.add_argument("out", metavar="OUT", type=Path, help="the model, .npz")
    args = parser.parse_args(argv)
    photos = list_images(args.photos, recursive=True)
    if not photos:
        raise DatasetError(f"no pictures in '{args.photos}': name a folder of clean photographs.")
    require_writable_folder(args.out.parent, "OUT")
    if args.out.is_dir():
        raise ConfigError(f"OUT '{args.out}' is a folder; name a file in it, such as '{args.out / 'niqe.npz'}'.")
    shown = track(photos, description="photographs", console=Console(stderr=True), transient=True)
    features = torch.cat([sharp_features(photo) for photo in shown])
    write_pristine_model(args.out, fit_pristine_model(features))
    print(f"wrote {args.out}: NIQE's model of {len(features)} sharp blocks of {len(photos)} photographs")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
