"""How far half precision is from float32 on pictures of one's own, in steps of 8 bits.

    python tools/analysis/precision_difference.py photos/                     # the model of the package, bf16
    python tools/analysis/precision_difference.py photos/ --model MODEL --precision fp16 --most 30 --side 256

The middle of each picture is restored in both precisions, for every task of the model in turn. Printed is the mean
absolute difference of each picture, that of its worst task, and at the end the largest of all; `--precision auto` takes
bf16 where that is at most 1 on a photograph of the package. Pictures are taken evenly from all that the folders hold.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from dtir import RestorationInferencer
from dtir.apis.models.names import find_model
from dtir.apis.restoring.precision import DTYPES, HALF
from dtir.cli.importing import add_import_argument
from dtir.cli.numbers import positive_int
from dtir.core.errors import ConfigError, DtirError
from dtir.core.names import printable
from dtir.imaging.files import read_rgb
from dtir.imaging.listing import survey


class Off(NamedTuple):
    """A picture's difference from float32: its mean over the model's tasks, and the largest with the task's name."""

    path: Path
    mean: float
    largest: float
    task: str


def chosen(paths: Sequence[Path], most: int) -> list[Path]:
    """So many of the paths at most, evenly from the first to the last."""
    if len(paths) <= most:
        return list(paths)
    return [paths[k * len(paths) // most] for k in range(most)]


def middle(path: Path, side: int) -> np.ndarray:
    """uint8 (H, W, 3), H and W at most `side`."""
    rgb = read_rgb(path)
    top, left = ((max(length - side, 0)) // 2 for length in rgb.shape[:2])
    return rgb[top : top + side, left : left + side]


def differences(
    exact: RestorationInferencer, half: RestorationInferencer, paths: Sequence[Path], side: int
) -> Iterator[Off]:
    """Restores each picture for each task, in both precisions."""
    for path in paths:
        pixels = middle(path, side)
        by_task = {
            task: 255 * np.abs(exact.restore_array(pixels, task) - half.restore_array(pixels, task)).mean()
            for task in exact.restorer.tasks
        }
        worst = max(by_task, key=by_task.get)
        yield Off(path, float(np.mean(list(by_task.values()))), float(by_task[worst]), worst)


def found(folders: Sequence[Path], most: int) -> list[Path]:
    """The pictures of the folders, of which `most` are chosen.

    Raises:
        ConfigError: There is none.
    """
    paths = [path for folder in folders for path in survey(folder, recursive=True).images]
    if not paths:
        raise ConfigError(f"no pictures in {', '.join(map(str, folders))}.")
    return chosen(paths, most)


def main(words: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--model", help="as of dtir restore (default: universal)")
    parser.add_argument("--precision", choices=list(DTYPES), default=HALF)
    parser.add_argument("--most", type=positive_int, default=30, metavar="N", help="pictures (30)")
    parser.add_argument(
        "--side", type=positive_int, default=256, metavar="N", help="of the middle that is restored (256)"
    )
    parser.add_argument("--device", help="of PyTorch")
    parser.add_argument("--threads", type=positive_int, default=torch.get_num_threads())
    add_import_argument(parser)
    args = parser.parse_args(words)
    torch.set_num_threads(args.threads)
    try:
        paths, model = found(args.folders, args.most), find_model(args.model)
        exact = RestorationInferencer(model, args.device)
        half = RestorationInferencer(model, args.device, precision=args.precision)
        every = []
        for off in differences(exact, half, paths, args.side):
            every.append(off)
            print(f"{off.mean:.3f}  {off.largest:.3f} ({off.task})  {printable(off.path)}", flush=True)
    except DtirError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    worst = max(every, key=lambda off: off.largest)
    print(
        f"{args.precision}, {len(every)} pictures, {len(exact.restorer.tasks)} tasks: mean "
        f"{np.mean([off.mean for off in every]):.3f}, of a picture at most {max(off.mean for off in every):.3f}, of a "
        f"picture and task at most {worst.largest:.3f} of 255 ({worst.task}, {printable(worst.path.name)})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
