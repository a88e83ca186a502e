"""Megapixels per second of restoring a picture, in every precision and by every runtime that is installed, in one run.

    python tools/analysis/benchmark_restore.py                          # the model of the package, on this machine
    python tools/analysis/benchmark_restore.py --model MODEL --task hazy --side 512 --threads 1 --markdown

All ways take turns, so that each sees the same machine. The exported models are made first, in a folder for temporary
files (`dtir export`), and are those of the task alone, their adapters folded. Differences are from float32, on average
over the picture, in steps of 8 bits. A runtime that is not installed is left out, which is said.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from dtir import RestorationInferencer
from dtir.apis.export.writing import export_model
from dtir.apis.models.build import load_restorer
from dtir.apis.models.graph_names import SUFFIXES, backend_of
from dtir.apis.models.names import find_model
from dtir.apis.restoring.precision import PHOTOGRAPH
from dtir.cli.importing import add_import_argument
from dtir.cli.numbers import positive_int
from dtir.core.errors import ConfigError, DtirError
from dtir.imaging.files import read_picture
from dtir.measure.timing import alternate

COLUMNS = ("way", "MP/s", "times float32", "difference of 255")


def picture(side: int) -> np.ndarray:
    """A photograph of the package, repeated to side x side pixels, uint8."""
    rgb = read_picture(PHOTOGRAPH).rgb
    repeats = [-(-side // length) for length in rgb.shape[:2]]
    return np.tile(rgb, (*repeats, 1))[:side, :side].copy()


def ways(model: Path, task: str, device: str | None, compiled: bool, folder: Path) -> Iterator[tuple[str, Callable]]:
    """Each way's name and its inferencer."""
    yield "float32", RestorationInferencer(model, device)
    yield "bf16", RestorationInferencer(model, device, precision="bf16")
    if compiled:
        yield "float32, compiled", RestorationInferencer(model, device, compiled=True)
        yield "bf16, compiled", RestorationInferencer(model, device, precision="bf16", compiled=True)
    for kind in ("onnx", "openvino"):
        path = folder / f"model{SUFFIXES[kind]}"
        try:
            export_model(load_restorer(model), path, kind, task)
            exported = RestorationInferencer(path)
        except ConfigError as error:
            print(f"without {kind}: {error}", file=sys.stderr)
            continue
        yield backend_of(path), exported
        if "bf16" in exported.restorer.precisions:
            yield f"{backend_of(path)}, bf16", RestorationInferencer(path, precision="bf16")


def measure(args: argparse.Namespace) -> list[tuple[str, ...]]:
    """The rows of the table."""
    pixels, model = picture(args.side), find_model(args.model)
    with tempfile.TemporaryDirectory() as folder:
        every = dict(ways(model, args.task, args.device, args.compile, Path(folder)))
        calls = {
            name: lambda inferencer=inferencer: inferencer.restore_array(pixels, args.task)
            for name, inferencer in every.items()
        }
        outputs = {name: call() for name, call in calls.items()}
        clock = time.process_time if args.cpu_time else time.perf_counter
        seconds = alternate(calls, args.rounds, warm_up=0, clock=clock)
    exact = outputs["float32"]
    return [
        (
            name,
            f"{args.side**2 / 1e6 / taken:.3f}",
            f"{seconds['float32'] / taken:.2f}",
            f"{255 * np.abs(outputs[name] - exact).mean():.3f}",
        )
        for name, taken in seconds.items()
    ]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="as of dtir restore (default: universal)")
    parser.add_argument("--task", default="noisy", help="one of the model's (noisy)")
    parser.add_argument(
        "--side", type=positive_int, default=512, metavar="N", help="height and width of the picture (512)"
    )
    parser.add_argument("--device", help="of PyTorch; exported models run on the CPU")
    parser.add_argument("--threads", type=positive_int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=positive_int, default=5, help="timed rounds after one that does not count")
    parser.add_argument(
        "--cpu-time", action="store_true", help="seconds of the CPU in place of the clock's: for a busy machine"
    )
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave out torch.compile")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    add_import_argument(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    try:
        rows = measure(args)
    except DtirError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{args.side} x {args.side} pixels, {args.threads} threads, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    if args.markdown:
        print("\n".join(f"| {' | '.join(cells)} |" for cells in (COLUMNS, ["---"] * len(COLUMNS), *rows)))
        return 0
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
