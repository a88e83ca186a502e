"""Pictures per second through Ray Data, beside one process on this machine.

    python tools/analysis/benchmark_ray.py --workers 2
    python tools/analysis/benchmark_ray.py --ray 10.0.0.1:6379 --folder /shared/tmp --workers 16

Makes pictures of noise in a temporary folder, restores them with the model of the package, each time with the same
options, and compares the outputs. "Begin" is the time until the first picture is done: loading, and Ray's own start.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from dtir.apis import RestorationInferencer
from dtir.apis.archive.archive import ArchiveOptions
from dtir.apis.archive.cluster import Cluster
from dtir.cli import exit_code
from dtir.cli.numbers import positive_int
from dtir.core.errors import DtirError
from dtir.imaging.files import write_picture
from dtir.imaging.picture import Picture


def make_pictures(folder: Path, number: int, side: int) -> None:
    """Writes so many PNG pictures of side x side pixels."""
    rng = np.random.default_rng(0)
    for name in range(number):
        rgb = rng.random((side, side, 3), np.float32)
        write_picture(folder / f"{name}.png", Picture(rgb), rgb)


def measured(inferencer: RestorationInferencer, source: Path, target: Path, options: ArchiveOptions) -> str:
    """Restores the folder, and says how fast.

    Raises:
        DtirError: A picture failed.
    """
    start, times = time.perf_counter(), []
    report = inferencer.restore_paths(
        source, target, "noisy", on_done=lambda job, outcome: times.append(time.perf_counter() - start), archive=options
    )
    if report.failed:
        raise DtirError(f"{report.failed[0].path}: {report.failed[0].reason}")
    rate = (len(times) - 1) / (times[-1] - times[0])
    return f"begin {times[0]:.1f} s, then {rate:.2f} pictures per second, {times[-1]:.1f} s in all"


def main() -> None:
    """Runs the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=positive_int, default=100, metavar="N", help="number of pictures (100)")
    parser.add_argument("--side", type=positive_int, default=256, metavar="N", help="pixels (256)")
    parser.add_argument(
        "--workers", type=positive_int, default=2, metavar="N", help="of Ray, and processes of --jobs (2)"
    )
    parser.add_argument("--ray", metavar="ADDRESS", help="cluster, as of dtir restore (default: of this machine)")
    parser.add_argument("--folder", metavar="DIR", help="that all machines see (default: one for temporary files)")
    args = parser.parse_args()
    inferencer = RestorationInferencer()
    ways = {
        "one process": ArchiveOptions(),
        f"--jobs {args.workers}": ArchiveOptions(jobs=args.workers),
        f"--ray, {args.workers} workers": ArchiveOptions(jobs=args.workers, cluster=Cluster(args.ray)),
    }
    print(f"{args.pictures} pictures of {args.side} x {args.side}, {torch.get_num_threads()} cores here")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        source = Path(folder, "in")
        make_pictures(source, args.pictures, args.side)
        for number, (way, options) in enumerate(ways.items()):
            target = Path(folder, f"out{number}")
            print(f"{way}: {measured(inferencer, source, target, options)}", flush=True)
            differing = [
                path
                for path in target.iterdir()
                if path.read_bytes() != (target.parent / "out0" / path.name).read_bytes()
            ]
            print(f"  {len(differing)} outputs differ from those of one process")


if __name__ == "__main__":
    sys.exit(exit_code(main))
