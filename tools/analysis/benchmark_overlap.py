"""What it gains to read and write other pictures while one is restored, with the model of the package.

    python tools/analysis/benchmark_overlap.py --side 1024 --format avif

The same pictures are restored one after the other, and as `dtir restore` does it, in turns, `--rounds` times each; the
least seconds of each way count. Outputs are compared byte for byte.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from dtir import RestorationInferencer
from dtir.apis.archive.archive import run_here
from dtir.apis.archive.folder import Job
from dtir.apis.archive.overlap import run_overlapped
from dtir.apis.restoring.precision import PHOTOGRAPH
from dtir.apis.restoring.wish import Wish
from dtir.cli import exit_code
from dtir.cli.numbers import positive_int
from dtir.imaging.files import read_picture, write_picture

WAYS = {"one after the other": run_here, "overlapped": run_overlapped}


def main() -> None:
    """Runs the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=positive_int, default=4, metavar="N", help="number of pictures (4)")
    parser.add_argument("--side", type=positive_int, default=1024, metavar="N", help="their height and width (1024)")
    parser.add_argument("--format", default="png", help="of the outputs (png)")
    parser.add_argument("--precision", default="float32", help="of the network (float32)")
    parser.add_argument("--threads", type=positive_int, default=1, help="of PyTorch (1)")
    parser.add_argument("--rounds", type=positive_int, default=3, help="of each way (3)")
    args = parser.parse_args()
    inferencer = RestorationInferencer(precision=args.precision)
    torch.set_num_threads(args.threads)
    restorer = inferencer.file_restorer(Wish("noisy"), overwrite=True)
    seconds = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        sources = make_pictures(Path(folder), args.pictures, args.side)
        for _ in range(args.rounds):
            outputs = {}
            for way, run in WAYS.items():
                jobs = [Job(source, source.with_suffix(f".out.{args.format}")) for source in sources]
                start = time.perf_counter()
                failed = [
                    done.result
                    for _, done in run(restorer, jobs, lambda job: None)
                    if not hasattr(done.result, "changed")
                ]
                seconds[way].append(time.perf_counter() - start)
                if failed:
                    raise SystemExit(f"not restored: {failed[0]}")
                outputs[way] = [job.target.read_bytes() for job in jobs]
            if len({tuple(each) for each in outputs.values()}) != 1:
                raise SystemExit("the outputs differ")
    first, second = (min(each) for each in seconds.values())
    for way, each in seconds.items():
        print(f"{way}: {min(each):.2f} s")
    print(f"{first / second:.2f} times as fast, the same bytes; load {os.getloadavg()[0]:.1f}")


def make_pictures(folder: Path, number: int, side: int) -> list[Path]:
    """Writes pictures of side x side pixels, a photograph of the package repeated, with noise."""
    picture = read_picture(PHOTOGRAPH)
    repeats = [-(-side // length) for length in picture.rgb.shape[:2]]
    rgb = np.tile(picture.rgb, (*repeats, 1))[:side, :side]
    paths = [folder / f"{index}.png" for index in range(number)]
    for index, path in enumerate(paths):
        write_picture(path, picture, rgb + 0.05 * np.random.default_rng(index).standard_normal(rgb.shape))
    return paths


if __name__ == "__main__":
    sys.exit(exit_code(main))
