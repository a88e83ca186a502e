"""Workers that a machine has no use for are not started."""

import logging
import os
import subprocess
import sys

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from dtir.engine import data_workers
from dtir.engine.data_workers import begin_worker, granted_workers


@pytest.mark.parametrize(
    ("cores", "asked", "granted"), [(2, 900, 16), (2, 16, 16), (2, 0, 0), (64, 200, 200), (64, 900, 256)]
)
def test_workers_that_are_of_no_use_are_not_started(cores, asked, granted, monkeypatch):
    said = []
    monkeypatch.setattr(data_workers, "usable_cores", lambda: cores)
    monkeypatch.setattr(logging.Logger, "warning", lambda self, text, *args: said.append(text))
    assert granted_workers(asked) == granted
    assert [text.split(",")[0] for text in said] == [f"num_workers={asked}: {granted} are started"] * (asked > granted)


class Products(Dataset):
    """Whether a number too small for a CPU's fast path is kept where it is asked for."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return (torch.tensor(1e-30) * 1e-10).item() > 0


def test_workers_that_are_not_forked_flush_too(denormals_kept):
    loader = DataLoader(Products(), num_workers=1, worker_init_fn=begin_worker, multiprocessing_context="spawn")
    assert denormals_kept()
    assert [bool(kept) for kept in loader] == [False]


LEFT = """
from torch.utils.data import DataLoader
from dtir.engine.data_workers import begin_worker
left = iter(DataLoader(range(100), num_workers=1, worker_init_fn=begin_worker, multiprocessing_context="{start}"))
next(left)
{ending}
"""


@pytest.mark.parametrize(
    ("start", "ending", "code"), [("fork", "", 0), ("fork", "raise SystemExit(3)", 3), ("forkserver", "", 0)]
)
def test_workers_end_with_a_training_that_ends_or_fails_in_the_middle_of_its_data(start, ending, code):
    script = LEFT.format(start=start, ending=ending)
    # A thread of a library, begun before the worker, would heed signals by itself and hide what is tested.
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    finished = subprocess.run([sys.executable, "-c", script], timeout=300, capture_output=True, env=alone)
    assert (finished.returncode, finished.stderr) == (code, b"")
