"""Numbers too small for a CPU's fast path."""

import torch

from dtir.core.denormals import flush_denormals


def test_count_as_zero_once_they_are_flushed(denormals_kept):
    assert denormals_kept()
    flush_denormals()
    assert not denormals_kept()
    assert (torch.tensor(1e-30) * 1e-7).item() > 0
