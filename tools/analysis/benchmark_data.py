"""Times the loading of a config's training data: decoding each time, with the cache, and from a pack.

Usage: python tools/analysis/benchmark_data.py CONFIG [--workers N] [--pictures N] [--patches N] [--rounds N]
Prints the patches per second of one core in each of the three ways (by the processor time of this process, so other
processes hardly matter), the part of every transform, and with --workers also the patches per second of that many
worker processes, by the clock. The ways take turns, so that all see the same machine. The pack is made in a temporary
folder, of the pictures that are measured; all files are in the system's page cache when they are.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import torch
from mmengine.config import Config
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from dtir.cli.importing import add_import_argument
from dtir.cli.launching import load_config
from dtir.cli.numbers import natural, positive_int
from dtir.core.errors import ConfigError, DtirError
from dtir.datasets import MultiTaskDataset, PackedPictures, SampleKey, write_pack
from dtir.datasets.transforms import LoadClean, LoadPair
from dtir.registry import DATASETS

# What four workers have to load to feed NAFNet-32 at batch 16, patch 128 on a data-centre GPU.
AIM, AIM_WORKERS = 400, 4
WHOLE, OTHER = "ms per patch", "other"

# Holds whatever is measured.
_UNLIMITED_MB = 2**20

Ways = dict[str, MultiTaskDataset]
Milliseconds = dict[str, dict[str, float]]


class Timed:
    """A transform that adds the seconds of processor time it takes to `seconds`, under its class name."""

    def __init__(self, step, seconds: Counter):
        self.step, self.seconds = step, seconds

    def __call__(self, sample: dict) -> dict:
        """Returns what the transform makes of the sample."""
        start = time.process_time()
        result = self.step(sample)
        self.seconds[type(self.step).__name__] += time.process_time() - start
        return result


def build_dataset(config: Config) -> MultiTaskDataset:
    """Builds the training data of a config.

    Raises:
        ConfigError: there is none, or a dataset's pipeline loads its pictures by another transform than dtir's.
    """
    if not config.get("train_dataloader"):
        raise ConfigError(f"{config.filename}: train_dataloader missing; name a config that trains.")
    dataset = DATASETS.build(config.train_dataloader.dataset)
    for member in dataset.datasets:
        if not loaders(member):
            raise ConfigError(
                f"{config.filename}: the pipeline of task '{member.task}' has neither LoadPair nor LoadClean, so the "
                "ways of loading cannot be compared."
            )
    return dataset


def loaders(member) -> list[LoadPair | LoadClean]:
    """The transforms of a dataset's training pipeline that load pictures."""
    return [step for step in member.pipeline.transforms if isinstance(step, (LoadPair, LoadClean))]


def choose_draws(dataset: MultiTaskDataset, patches: int, pictures: int) -> list[SampleKey]:
    """Restoration samples of all tasks in turn, of about `pictures` records in all."""
    tasks = len(dataset.tasks)
    records = [min(size, max(1, pictures // tasks)) for size in dataset.sizes]
    return [
        SampleKey(0, draw, draw % tasks, draw // tasks % records[draw % tasks], False)
        for draw in range(max(patches, tasks))
    ]


def use_files(dataset: MultiTaskDataset, cache_mb: float) -> MultiTaskDataset:
    """Makes the dataset read files through a cache of that limit."""
    for member in dataset.datasets:
        member.packed = None
        for step in loaders(member):
            step.cache_mb = cache_mb
    return dataset


def use_pack(dataset: MultiTaskDataset, draws: Sequence[SampleKey], folder: Path) -> MultiTaskDataset:
    """Packs the pictures of `draws` into `folder` and makes the dataset read the packs."""
    for task, member in enumerate(dataset.datasets):
        paths = [Path(path) for path in files_of(member.records[key.index] for key in draws if key.task == task)]
        root = os.path.commonpath([path.parent for path in paths])
        write_pack(folder / f"{task}.npz", root, paths)
        member.packed = PackedPictures(folder / f"{task}.npz", root)
    return dataset


def packed_bytes(dataset: MultiTaskDataset) -> list[int]:
    """Sizes of the pictures in the packs of a dataset."""
    return [picture.nbytes for member in dataset.datasets for picture in member.packed]


def files_of(records: Iterable[dict]) -> list[str]:
    """The different files of records."""
    return list(dict.fromkeys(record[key] for record in records for key in ("lq_path", "gt_path")))


def time_parts(ways: Ways, draws: Sequence[SampleKey], rounds: int) -> Milliseconds:
    """Median milliseconds per patch of the whole (`WHOLE`), every transform and `OTHER`, in this process, by way."""
    clocks = {way: time_transforms(dataset) for way, dataset in ways.items()}
    seen: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(rounds + 1):
        for way, dataset in ways.items():
            clocks[way].clear()
            start = time.process_time()
            for draw in draws:
                dataset[draw]
            whole = time.process_time() - start
            seen[way].append({WHOLE: whole, **clocks[way], OTHER: whole - sum(clocks[way].values())})
    # The first round fills the cache.
    return {way: median_parts(times[1:], 1e3 / len(draws)) for way, times in seen.items()}


def time_transforms(dataset: MultiTaskDataset) -> Counter:
    """Wraps the transforms of all tasks; returns the counter of their seconds."""
    seconds = Counter()
    for member in dataset.datasets:
        member.pipeline.transforms = [Timed(step, seconds) for step in member.pipeline.transforms]
    return seconds


def median_parts(rounds: Sequence[Mapping[str, float]], scale: float) -> dict[str, float]:
    """Medians over the rounds, scaled."""
    return {part: scale * statistics.median(times[part] for times in rounds) for part in rounds[0]}


def time_workers(
    ways: Ways, draws: Sequence[SampleKey], batch_size: int, workers: int, rounds: int
) -> dict[str, float]:
    """Median patches per second of `workers` processes together, by way."""
    batches = [draws[start : start + batch_size] for start in range(0, len(draws), batch_size)]
    settings = {"num_workers": workers, "persistent_workers": True, "worker_init_fn": use_one_thread}
    feeds = {way: DataLoader(dataset, batch_sampler=batches, **settings) for way, dataset in ways.items()}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds + 1):
        for way, feed in feeds.items():
            start = time.perf_counter()
            for _ in feed:
                pass
            seconds[way].append(time.perf_counter() - start)
    return {way: len(draws) / statistics.median(times[1:]) for way, times in seconds.items()}


def use_one_thread(worker: int = 0) -> None:
    """Keeps OpenCV and torch to one thread, as in the workers of a training."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def draw_table(title: str, parts: Milliseconds, workers: int, rates: Mapping[str, float]) -> Table:
    """The table of `time_parts` and, unless empty, `time_workers`."""
    table = Table(title=title)
    table.add_column("")
    for way in parts:
        table.add_column(way, justify="right")
    speeds = [1e3 / times[WHOLE] for times in parts.values()]
    table.add_row("patches/s of one core", *(f"{speed:.0f}" for speed in speeds))
    table.add_row("  of the aim", *(f"{speed * AIM_WORKERS / AIM:.2f}" for speed in speeds))
    table.add_row(WHOLE, *(f"{times[WHOLE]:.2f}" for times in parts.values()))
    for name in next(iter(parts.values())):
        if name != WHOLE:
            table.add_row(f"  {name}", *(share(times[name], times[WHOLE]) for times in parts.values()))
    if rates:
        table.add_row(f"patches/s of {workers} workers", *(f"{rates[way]:.0f}" for way in parts))
    return table


def share(part: float, whole: float) -> str:
    """A part with its share of the whole."""
    return f"{part:.2f} ({100 * part / whole:3.0f} %)"


def describe_size(dataset: MultiTaskDataset, picture_bytes: float) -> str:
    """Says how large the training set is when decoded, and how much of it the cache holds.

    Args:
        dataset: The data as configured.
        picture_bytes: Mean size of a decoded picture.
    """
    files = len(files_of(record for member in dataset.datasets for record in member.records))
    megabytes = files * picture_bytes / 2**20
    cache_mb = max(step.cache_mb for member in dataset.datasets for step in loaders(member))
    held = 100 * min(1.0, cache_mb / megabytes)
    return (
        f"The training set is {files} pictures, about {megabytes:.0f} MiB decoded. A cache of cache_mb={cache_mb:g}, "
        f"one in each worker, holds at most {held:.0f} % of it; 'cached' is the speed where it holds all."
    )


def compare(config: Config, args: argparse.Namespace, console: Console) -> None:
    """Measures and prints."""
    dataset = build_dataset(config)
    draws = choose_draws(dataset, args.patches, args.pictures)
    with tempfile.TemporaryDirectory() as folder:
        ways = {
            "decoded each time": use_files(build_dataset(config), 0),
            "cached": use_files(build_dataset(config), _UNLIMITED_MB),
            "packed": use_pack(build_dataset(config), draws, Path(folder)),
        }
        picture_bytes = statistics.mean(packed_bytes(ways["packed"]))
        parts = time_parts(ways, draws, args.rounds)
        batch_size = config.train_dataloader.batch_size
        rates = time_workers(ways, draws, batch_size, args.workers, args.rounds) if args.workers else {}
    side = dataset[draws[0]]["inputs"].shape[-1]
    title = f"{args.config}: patch {side}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    console.print(draw_table(title, parts, args.workers, rates))
    console.print(describe_size(dataset, picture_bytes))
    console.print(
        f"Aim: {AIM // AIM_WORKERS} patches/s of one core, so that {AIM_WORKERS} workers feed NAFNet-32 at batch 16, "
        f"patch 128 on a data-centre GPU (about {AIM} patches/s)."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", metavar="CONFIG", help="training config")
    parser.add_argument("--workers", type=natural, default=0, metavar="N", help="also time N worker processes (0)")
    parser.add_argument("--pictures", type=positive_int, default=32, metavar="N", help="pictures to draw from (32)")
    parser.add_argument("--patches", type=positive_int, default=64, metavar="N", help="patches of a round (64)")
    parser.add_argument("--rounds", type=positive_int, default=5, metavar="N", help="rounds to take the median of (5)")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="set keys of the config")
    add_import_argument(parser)
    args = parser.parse_args(argv)
    use_one_thread()
    try:
        compare(load_config(args.config, args.cfg_options), args, Console())
    except DtirError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
