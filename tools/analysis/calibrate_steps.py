"""Finds time steps for each picture's own strength of damage, with a pre-trained network.

    python tools/analysis/calibrate_steps.py CKPT --task rainy --clean FOLDER --out rainy_table.json
    python tools/analysis/calibrate_steps.py CKPT --task rainy --pairs FOLDER --out rainy_steps.json

The first degrades clean pictures at several severities, matches each, and writes the table of `severity_steps` of a
SyntheticDataset. The second matches every pair by itself, and writes the file of `steps` of a PairedDataset. CKPT is
the checkpoint of a training with a generative stage.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from dtir.apis.models.build import load_restorer
from dtir.cli.importing import add_import_argument
from dtir.cli.numbers import natural, positive_int
from dtir.core.atomic import atomic_write
from dtir.core.errors import ConfigError, DtirError
from dtir.datasets import PairedDataset, SyntheticDataset
from dtir.diffusion.matching import MatchingCurve, match_timestep
from dtir.diffusion.severity import severity_table
from dtir.models import DiffusionRestorer


def matched(model: DiffusionRestorer, task: str, items: Iterable[dict]) -> MatchingCurve:
    """The matching curve of dataset items, one row of scores each."""
    curves = [_one(model, task, item["inputs"], item["data_samples"]["gt"]) for item in items]
    return MatchingCurve.merge(curves)


def _one(model: DiffusionRestorer, task: str, lq: Tensor, gt: Tensor) -> MatchingCurve:
    with torch.inference_mode():
        return match_timestep(model.predict_eps, model.scheduler, lq[None] / 255, gt[None] / 255, task=task)


def table_of(model: DiffusionRestorer, args: argparse.Namespace) -> list[tuple[float, int]]:
    """Pairs of a severity and its step."""
    curves = {}
    for severity in args.severities:
        folder = Path(args.clean).resolve()
        data = SyntheticDataset(args.task, folder, severity=severity, eval_crop=args.crop, recursive=True)
        curves[severity] = matched(model, args.task, (data[k] for k in range(min(args.images, len(data)))))
    return severity_table(curves, first=args.first)


def steps_of(model: DiffusionRestorer, args: argparse.Namespace) -> dict[str, int]:
    """Steps of pairs by their names, of the middle of each."""
    data = PairedDataset(args.task, Path(args.pairs).resolve())
    steps = {}
    for number, record in enumerate(data.records):
        item = data[number]
        lq, gt = (_middle(picture, args.crop) for picture in (item["inputs"], item["data_samples"]["gt"]))
        steps[record["name"]] = _one(model, args.task, lq, gt).peak(args.first)
    return steps


def _middle(picture: Tensor, side: int) -> Tensor:
    top, left = (max(0, (length - side) // 2) for length in picture.shape[-2:])
    return picture[..., top : top + side, left : left + side]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--task", required=True)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--clean", metavar="FOLDER", help="clean pictures to degrade at every severity")
    source.add_argument("--pairs", metavar="FOLDER", help="folder with LQ/ and GT/")
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")
    parser.add_argument("--severities", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75, 1.0], metavar="S")
    parser.add_argument(
        "--images", type=positive_int, default=16, metavar="N", help="clean pictures per severity (default: 16)"
    )
    parser.add_argument(
        "--crop", type=positive_int, default=128, metavar="N", help="side of what is matched (default: 128)"
    )
    parser.add_argument(
        "--first", type=natural, default=0, metavar="T", help="smallest step (default: 0, nothing to do)"
    )
    add_import_argument(parser)
    args = parser.parse_args()
    try:
        model = load_restorer(args.checkpoint)
        if not isinstance(model, DiffusionRestorer):
            raise ConfigError(f"'{args.checkpoint}' is a {type(model).__name__}; a DiffusionRestorer is needed.")
        found = table_of(model, args) if args.clean else steps_of(model, args)
        with atomic_write(args.out, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)
    except DtirError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    print(f"{args.out}: {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
