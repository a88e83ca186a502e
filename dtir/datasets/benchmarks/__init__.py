"""The published benchmarks: how their archives are laid out, how they are prepared and verified."""

from dtir.core.errors import DatasetError
from dtir.core.names import did_you_mean

from .declare import Benchmark, Layout, Part
from .generalization import GENERALIZATION
from .manifest import MANIFEST, Manifest, read_manifest
from .plan import read_names
from .prepare import prepare
from .sources import open_source
from .ten_tasks import TEN_TASKS

BENCHMARKS = {benchmark.name: benchmark for benchmark in (*TEN_TASKS, *GENERALIZATION)}


def get_benchmark(name: str) -> Benchmark:
    """Returns the benchmark of that name.

    Raises:
        DatasetError: There is none; the message lists all and the nearest one.
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    hint = did_you_mean(name, BENCHMARKS)
    raise DatasetError(f"unknown benchmark '{name}'.{hint} Known benchmarks: {', '.join(BENCHMARKS)}.")


__all__ = [
    "BENCHMARKS",
    "MANIFEST",
    "Benchmark",
    "Layout",
    "Manifest",
    "Part",
    "get_benchmark",
    "open_source",
    "prepare",
    "read_manifest",
    "read_names",
]
