import os
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch

from dtir.measure.memory import in_new_process, peak_bytes


def growth(mebibytes: int) -> int:
    before = peak_bytes()
    torch.ones(mebibytes * 2**18).sum()
    return peak_bytes() - before


def test_a_new_process_sees_its_own_memory_only():
    kept = torch.ones(100 * 2**18)
    assert 150 * 2**20 <= in_new_process(growth, 160) <= 200 * 2**20
    del kept


def test_a_killed_process_is_an_error_and_not_a_wait():
    with pytest.raises(BrokenProcessPool):
        in_new_process(os._exit, 9)
