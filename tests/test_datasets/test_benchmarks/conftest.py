import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from dtir.datasets.benchmarks import get_benchmark, open_source, prepare, read_names


def picture(name, side=12):
    """A picture (side, side, 3) of its own for each name."""
    return np.random.default_rng(zlib.crc32(str(name).encode())).integers(0, 256, (side, side, 3), np.uint8)


def write(path, rgb):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), rgb[:, :, ::-1])


class Workplace:
    """A folder for sources and one for what is prepared of them."""

    def __init__(self, root: Path):
        self.sources = root / "sources"
        self.out = root / "data"

    def tree(self, *names):
        """Makes a source picture for each path, and returns their folder."""
        for name in names:
            write(self.sources / name, picture(name))
        return self.sources

    def prepare(self, benchmark, *sources, names=None, **settings):
        """Prepares, by default from the whole tree; returns the manifests by folder."""
        benchmark = get_benchmark(benchmark)
        opened = [open_source(path) for path in sources or [self.sources]]
        listed = read_names(names, benchmark.task) if names else None
        return {one.folder: one for one in prepare(benchmark, opened, self.out, names=listed, **settings)}

    def files(self):
        """Paths of all that was prepared."""
        return sorted(path.relative_to(self.out).as_posix() for path in self.out.rglob("*.*") if path.is_file())


@pytest.fixture
def work(tmp_path):
    return Workplace(tmp_path)


@pytest.fixture(name="picture")
def picture_fixture():
    return picture


@pytest.fixture(name="write")
def write_fixture():
    return write
