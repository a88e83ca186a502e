"""Peak memory of restoring a very large TIFF file in bands of rows, with a network that takes next to nothing.

    python tools/analysis/benchmark_large.py --side 20000

Makes the picture, uncompressed, in a folder for temporary files, which is emptied again.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from dtir.apis import RestorationInferencer
from dtir.cli import exit_code
from dtir.cli.numbers import positive_int
from dtir.imaging.vips import libvips


class Inversion(nn.Module):
    """Restores by inverting: what is measured is the reading and writing."""

    tasks = ("noisy",)
    num_timesteps = 1

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("matched_t", torch.tensor([1]))

    def restore(self, lq: Tensor, t: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] to their negatives."""
        return 1 - lq


def make_picture(path: Path, side: int) -> None:
    """Writes side x side pixels, 8 bits, RGB."""
    place = libvips().Image.xyz(side, side)
    waves = (place[0] * 0.5).sin() * 100 + 120
    bands = waves.bandjoin([(place[1] * 0.01) % 255, ((place[0] + place[1]) * 0.005) % 255])
    bands.cast("uchar").copy(interpretation="srgb").tiffsave(str(path), bigtiff=side > 30000)


def peak_megabytes() -> float:
    """The largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Runs the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=positive_int, default=20000, metavar="N", help="pixels (default 20000)")
    side = parser.parse_args().side
    inferencer = RestorationInferencer(Inversion(), device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.tif"), Path(folder, "out", "in.tif")
        make_picture(source, side)
        before, start = peak_megabytes(), time.perf_counter()
        inferencer.restore_file(source, target, task="noisy")
        seconds = time.perf_counter() - start
    print(f"{side} x {side} pixels: {peak_megabytes() - before:.0f} MB above {before:.0f} MB, {seconds:.0f} s")


if __name__ == "__main__":
    sys.exit(exit_code(main))
