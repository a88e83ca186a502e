"""Decodes the pictures of a folder into one file that training reads patches from without decoding.

    python tools/dataset_converters/pack.py data/train/hazy --out data/packs/hazy.npz
    python tools/dataset_converters/pack.py data/photos --out data/packs/photos.npz

Then name the pack in the config, beside the folder: `dict(type="PairedDataset", task="hazy", data_root="train/hazy",
packed="packs/hazy.npz")`. Subfolders are packed too. docs/data_loading.md says when a pack is worth its room.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from dtir.core.errors import DatasetError, DtirError
from dtir.datasets import write_pack
from dtir.imaging.listing import list_images


def find_pictures(folder: Path, subfolders: Sequence[str]) -> list[Path]:
    """Returns the pictures below the subfolders, or below all of the folder if none is named.

    Raises:
        DatasetError: there is none.
        ImageFileError: a folder does not exist.
    """
    places = [folder / name for name in dict.fromkeys(subfolders)] or [folder]
    pictures = list(dict.fromkeys(path for place in places for path in list_images(place, recursive=True)))
    if not pictures:
        raise DatasetError(f"no pictures in {', '.join(map(repr, map(str, places)))}: name the folder of a data set.")
    return pictures


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="data_root of the dataset")
    parser.add_argument("subfolders", metavar="SUBFOLDER", nargs="*", help="folders in it to pack, LQ and GT say (all)")
    parser.add_argument("--out", required=True, metavar="FILE", type=Path, help="the pack, .npz")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the pack; returns the exit code."""
    args = parse(argv)
    try:
        pictures = find_pictures(args.folder, args.subfolders)
        shown = track(pictures, description="packing", console=Console(stderr=True))
        write_pack(args.out, args.folder, shown)
    except DtirError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {args.out}: {len(pictures)} pictures, {args.out.stat().st_size / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
