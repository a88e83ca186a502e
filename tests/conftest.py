"""What all tests share: few threads, and the places of fixtures and data."""

import os
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
    """The folder of parity fixtures ($DTIR_PARITY, by default ../shared/parity); skips the test without it."""
    return _folder("DTIR_PARITY", REPO.parent / "shared" / "parity", "parity fixtures")


def data_dir() -> Path:
    """The folder of real photographs ($DTIR_DATA, by default ../shared/data); skips the test without it."""
    return _folder("DTIR_DATA", REPO.parent / "shared" / "data", "real photographs")


def _folder(variable: str, default: Path, what: str) -> Path:
    path = Path(os.environ.get(variable, default))
    if not path.is_dir():
        pytest.skip(f"{what} are not in {path}; set {variable} to their folder")
    return path


@pytest.fixture(name="parity_dir", scope="session")
def parity_dir_fixture() -> Path:
    return parity_dir()


@pytest.fixture(name="data_dir", scope="session")
def data_dir_fixture() -> Path:
    return data_dir()
