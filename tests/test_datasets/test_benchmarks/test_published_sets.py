"""Which test sets published figures compare with."""

import numpy as np
import pytest

from dtir.datasets import PairedDataset, SyntheticDataset
from dtir.datasets.benchmarks.manifest import Manifest
from dtir.datasets.benchmarks.published_sets import are_published_sets
from dtir.imaging.files import write_picture
from dtir.imaging.picture import Picture


@pytest.fixture
def folder(tmp_path):
    for part in ("LQ", "GT"):
        for name in ("a", "b"):
            rgb = np.full((8, 8, 3), 0.5, np.float32)
            write_picture(tmp_path / part / f"{name}.png", Picture(rgb), rgb)
    return tmp_path


def prepared(folder, **changes) -> list[PairedDataset]:
    facts = {
        **dict.fromkeys(("benchmark", "title", "layout", "rule", "recipe", "mode", "tool", "plan"), "x"),
        **{
            "task": "hazy",
            "folder": "val/hazy",
            "split": "val",
            "pairs": 2,
            "expected": [2],
            "sources": [],
            "files": {},
        },
    }
    Manifest(**{**facts, **changes}).write(folder)
    return [PairedDataset("hazy", folder)]


def test_a_prepared_test_set_with_all_its_pairs(folder):
    assert are_published_sets(prepared(folder))
    assert are_published_sets(prepared(folder, expected=[]))


@pytest.mark.parametrize("changes", [{"expected": [500]}, {"split": "train"}, {"pairs": 3, "expected": [3]}])
def test_another_count_a_training_part_and_missing_pairs(folder, changes):
    assert not are_published_sets(prepared(folder, **changes))


def test_other_pictures(folder):
    assert not are_published_sets([PairedDataset("hazy", folder)])
    photos = SyntheticDataset("noisy", "asset://photos", files=["coffee.png"])
    assert not are_published_sets([*prepared(folder), photos])
