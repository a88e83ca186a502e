"""Seconds and memory that `dtir restore` takes as a command, from its start to its end, of small and large pictures.

    python -m benchmarks.cost [--model MODEL] [--repeat 3]

Each run is a process of its own, with the default arguments but for the task. Seconds are the median of the runs, from
the start of the process to its end, and memory is the most of all of them: the largest resident memory, or that of the
GPU where there is one. One run before the others is not counted, as it reads the libraries from the disk. Nothing else
should run on the machine meanwhile. The large picture is a free photograph of the package enlarged to 4000 x 3000
pixels, with noise of sigma 25, as JPEG of quality 95.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from rich.progress import track

from benchmarks.lab import REPO, markdown
from dtir.apis.restoring.device import resolve_device
from dtir.cli import exit_code
from dtir.cli.numbers import positive_int
from dtir.core.cores import usable_cores
from dtir.core.errors import DtirError

ASSETS = REPO / "dtir" / "assets"
LARGE = (4000, 3000)
SIGMA = 25
# `dtir`, and a last line with the bytes that it needed at most.
MEASURED = (
    "import sys, dtir.cli, dtir.measure.memory as m; print(dtir.cli.main(sys.argv[1:]), m.peak_bytes(), sep='\\n')"
)
COLUMNS = ["picture", "pixels", "task", "what was done", "seconds", "memory, MB"]


def enlarged(source: Path, target: Path, size: tuple[int, int], sigma: float) -> None:
    """Writes a photograph of (width, height) `size` with Gaussian noise of `sigma` in steps of 8 bits, as JPEG."""
    picture = cv2.resize(cv2.imread(str(source)), size, interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).normal(0, sigma, picture.shape)
    cv2.imwrite(str(target), np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 95])


def run(arguments: Sequence[str]) -> tuple[float, float, str]:
    """Seconds and memory in MB that `dtir` takes with these arguments, and what it prints.

    Raises:
        DtirError: It fails; the message has what it printed.
    """
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", MEASURED, *arguments], capture_output=True, text=True)
    seconds = time.perf_counter() - start
    lines = done.stdout.splitlines()
    if done.returncode or lines[-2] != "0":
        raise DtirError(f"'dtir {' '.join(arguments)}' failed:\n{done.stdout}{done.stderr}")
    return seconds, int(lines[-1]) / 1e6, "\n".join(lines[:-2])


def restored_as(printed: str, picture: Path) -> str:
    """What the line of a picture says was found and done, without its file.

    Raises:
        DtirError: There is no such line.
    """
    start = f"{picture}: "
    line = next((line for line in printed.splitlines() if line.startswith(start)), None)
    if line is None:
        raise DtirError(f"'dtir restore' says nothing of '{picture}':\n{printed}")
    return line.removeprefix(start)


def measured(picture: Path, task: str, model: str, repeat: int, folder: Path) -> list[str]:
    """The row of a picture."""
    out = folder / "restored"
    arguments = ["restore", str(picture), "--out", str(out), "--overwrite", "--task", task, "--model", model]
    runs = [run(arguments) for _ in track(range(repeat), f"{picture.name}, {task}")]
    height, width = cv2.imread(str(picture)).shape[:2]
    seconds, memory = median(one[0] for one in runs), max(one[1] for one in runs)
    done = restored_as(runs[-1][2], picture)
    return [picture.name, f"{width} x {height}", task, done, f"{seconds:.1f}", f"{memory:.0f}"]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="universal", help="name, file or folder (default: that of the package)")
    parser.add_argument("--repeat", type=positive_int, default=3, metavar="N", help="runs of each (default 3)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large = folder / "large.jpg"
        enlarged(ASSETS / "photos" / "coffee.png", large, LARGE, SIGMA)
        small = ASSETS / "damaged" / "noisy.jpg"
        measured(small, "noisy", args.model, 1, folder)
        pictures = [(small, "auto"), (large, "auto"), (large, "noisy")]
        rows = [measured(picture, task, args.model, args.repeat, folder) for picture, task in pictures]
    print(f"{usable_cores()} cores, device {resolve_device(None)}.\n\n{markdown(COLUMNS, rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
