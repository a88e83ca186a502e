"""What all tests share: few threads, and the places of fixtures and data."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

import cv2
import pytest
import torch

REPO = Path(__file__).resolve().parents[1]

cv2.setNumThreads(0)
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def parity_dir() -> Path:
    """The folder of parity fixtures ($DTIR_PARITY, by default ../shared/parity); without it `without_data`."""
    return _folder("DTIR_PARITY", REPO.parent / "shared" / "parity", "parity fixtures")


def data_dir() -> Path:
    """The folder of real photographs ($DTIR_DATA, by default ../shared/data); without it `without_data`."""
    return _folder("DTIR_DATA", REPO.parent / "shared" / "data", "real photographs")


def _folder(variable: str, default: Path, what: str) -> Path:
    path = Path(os.environ.get(variable, default))
    if not path.is_dir():
        without_data(f"{what} are not in {path}; set {variable} to their folder")
    return path


def without_data(reason: str) -> None:
    """Skips a test whose data are missing, or fails it where $DTIR_REQUIRE_DATA is 1: on a machine that should have the
    data, no test is lost in silence."""
    if os.environ.get("DTIR_REQUIRE_DATA") == "1":
        pytest.fail(f"{reason} ($DTIR_REQUIRE_DATA is 1)", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(name="without_data", scope="session")
def without_data_fixture() -> Callable[[str], None]:
    return without_data


@pytest.fixture(name="parity_dir", scope="session")
def parity_dir_fixture() -> Path:
    return parity_dir()


@pytest.fixture(name="data_dir", scope="session")
def data_dir_fixture() -> Path:
    return data_dir()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own handling of Ctrl-C, which a test run in a shell's background lacks."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def denormals_kept() -> Iterator[Callable[[], bool]]:
    """Says whether numbers too small for a CPU's fast path are kept; they are at first, and again afterwards."""
    if not torch.set_flush_denormal(False):
        pytest.skip("this CPU cannot count denormal numbers as zero")
    yield lambda: (torch.tensor(1e-30) * 1e-10).item() > 0
    torch.set_flush_denormal(False)
