"""Draws a contact sheet of a config's dataset: per task one row of pairs, LQ at the left of its GT.

Usage: python tools/analysis/browse_dataset.py CONFIG [--split train|val] [--num N] [--out DIR]
Training items are drawn as training draws them (patches, flips, severities), validation items are whole pictures.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from dtir.cli.importing import add_import_argument
from dtir.cli.launching import load_config
from dtir.cli.numbers import positive_int
from dtir.core.errors import ConfigError, DtirError
from dtir.datasets import MultiTaskDataset, SampleKey
from dtir.imaging.files import write_picture
from dtir.imaging.picture import Picture
from dtir.registry import DATASETS

CELL, GAP, LABEL = 192, 8, 22


def build_dataset(config_path: str, split: str, cfg_options: Sequence[str] = ()) -> MultiTaskDataset:
    """Builds the dataset of `<split>_dataloader` of a config; one that is not multi-task becomes its only member.

    Raises:
        ConfigError: the config has no such dataloader.
    """
    config = load_config(config_path, cfg_options)
    loader = config.get(f"{split}_dataloader")
    if not loader:
        raise ConfigError(f"{config_path}: {split}_dataloader missing; give --split a split that the config has.")
    dataset = DATASETS.build(loader.dataset)
    return dataset if isinstance(dataset, MultiTaskDataset) else MultiTaskDataset([dataset])


def training_items(dataset: MultiTaskDataset, task: int, num: int) -> Iterator[dict]:
    """The first `num` restoration samples of a task, as stage 0 of a training would draw them."""
    size = dataset.sizes[task]
    return (dataset[SampleKey(0, draw, task, draw % size, False)] for draw in range(num))


def evaluation_items(dataset: MultiTaskDataset, task: int, num: int) -> Iterator[dict]:
    """The first `num` evaluation items of a task."""
    start = sum(dataset.sizes[:task])
    return (dataset[index] for index in range(start, start + min(num, dataset.sizes[task])))


def draw_pair(item: dict) -> np.ndarray:
    """Draws LQ | GT with the PSNR of the LQ above, uint8 (LABEL + CELL, 2 CELL, 3), RGB."""
    lq, gt = (tensor.permute(1, 2, 0).numpy() for tensor in (item["inputs"], item["data_samples"]["gt"]))
    name = item["data_samples"].get("name", "")
    quality = "no damage" if np.array_equal(lq, gt) else f"{cv2.PSNR(lq, gt):.1f} dB"
    return np.vstack([draw_label(f"{quality}  {name}", 2 * CELL), np.hstack([fit(lq), fit(gt)])])


def fit(picture: np.ndarray) -> np.ndarray:
    """Scales a picture to the cell, kept in proportion, on white."""
    scale = CELL / max(picture.shape[:2])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    cell = np.full((CELL, CELL, 3), 255, np.uint8)
    cell[:height, :width] = cv2.resize(picture, (width, height), interpolation=method)
    return cell


def draw_label(text: str, width: int) -> np.ndarray:
    """Draws a line of text, black on white."""
    strip = np.full((LABEL, width, 3), 255, np.uint8)
    return cv2.putText(strip, text, (2, LABEL - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)


def draw_row(task: str, pairs: list[np.ndarray], num: int) -> np.ndarray:
    """Draws a task's name above its pairs; rows of fewer than `num` pairs end in white."""
    blank = np.full_like(pairs[0], 255)
    gap = np.full((len(blank), GAP, 3), 255, np.uint8)
    padded = pairs + [blank] * (num - len(pairs))
    row = np.hstack([part for pair in padded for part in (pair, gap)])
    return np.vstack(
        [draw_label(f"{task}   (LQ | GT)", row.shape[1]), row, np.full((GAP, *row.shape[1:]), 255, np.uint8)]
    )


def draw_sheet(dataset: MultiTaskDataset, split: str, num: int) -> np.ndarray:
    """Draws the sheet of all tasks, uint8 (H, W, 3), RGB."""
    items = training_items if split == "train" else evaluation_items
    num = num if split == "train" else min(num, max(dataset.sizes))
    rows = []
    for task, name in enumerate(track(dataset.names, description="tasks", console=Console(stderr=True))):
        rows.append(draw_row(name, [draw_pair(item) for item in items(dataset, task, num)], num))
    return np.vstack(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Draws and saves the sheet; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config", metavar="CONFIG", help="config file")
    parser.add_argument("--split", choices=("train", "val"), default="train", help="which dataset (train)")
    parser.add_argument("--num", type=positive_int, default=4, help="pairs per task (4)")
    parser.add_argument("--out", default="work_dirs/browse", metavar="DIR", help="folder of the sheet")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="set keys of the config")
    add_import_argument(parser)
    args = parser.parse_args(argv)
    path = Path(args.out) / f"{Path(args.config).stem}_{args.split}.png"
    try:
        sheet = draw_sheet(build_dataset(args.config, args.split, args.cfg_options), args.split, args.num)
        write_picture(path, Picture(sheet), sheet / np.float32(255))
    except DtirError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
