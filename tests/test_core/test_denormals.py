"""Numbers too small for a CPU's fast path."""

import pytest
import torch

from dtir.core.denormals import flush_denormals


def product() -> float:
    return (torch.tensor(1e-30) * 1e-10).item()


@pytest.fixture(name="_kept")
def kept_fixture():
    if not torch.set_flush_denormal(False):
        pytest.skip("this CPU cannot count denormal numbers as zero")
    yield
    torch.set_flush_denormal(False)


@pytest.mark.usefixtures("_kept")
def test_count_as_zero_once_they_are_flushed():
    assert product() > 0
    flush_denormals()
    assert product() == 0
    assert (torch.tensor(1e-30) * 1e-7).item() > 0
