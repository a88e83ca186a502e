"""Workers that a machine has no use for are not started."""

import logging

import pytest

from dtir.engine import data_workers
from dtir.engine.data_workers import granted_workers


@pytest.mark.parametrize(
    ("cores", "asked", "granted"), [(2, 900, 16), (2, 16, 16), (2, 0, 0), (64, 200, 200), (64, 900, 256)]
)
def test_workers_that_are_of_no_use_are_not_started(cores, asked, granted, monkeypatch):
    said = []
    monkeypatch.setattr(data_workers, "usable_cores", lambda: cores)
    monkeypatch.setattr(logging.Logger, "warning", lambda self, text, *args: said.append(text))
    assert granted_workers(asked) == granted
    assert [text.split(",")[0] for text in said] == [f"num_workers={asked}: {granted} are started"] * (asked > granted)
