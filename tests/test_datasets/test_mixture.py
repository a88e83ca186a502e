"""One task from several sources: shares, repeatability, and what is refused; pairs that are held out."""

import cv2
import numpy as np
import pytest

from dtir.core.errors import DatasetError
from dtir.datasets import MixtureDataset, MultiTaskDataset, PairedDataset, SampleKey


class Source:
    """Items that say where they come from and what they were asked for."""

    def __init__(self, name: str, length: int, task: str = "noisy"):
        self.name, self.length, self.task = name, length, task

    def __len__(self):
        return self.length

    def training_item(self, index, rng, generative=False, patch=None):
        return {"inputs": (self.name, index, patch), "data_samples": {"generative": generative}}

    def __getitem__(self, index):
        return f"{self.name}{index}"


def mixture(**options):
    return MixtureDataset("noisy", [Source("a", 3), Source("b", 50)], **{"shares": [3, 1], **options})


def test_sources_are_drawn_by_their_shares_and_not_by_their_sizes():
    drawn = [mixture().training_item(0, np.random.default_rng(seed))["inputs"] for seed in range(400)]
    assert 0.69 < np.mean([name == "a" for name, _, _ in drawn]) < 0.81
    assert {index for name, index, _ in drawn if name == "a"} == {0, 1, 2}
    assert len({index for name, index, _ in drawn if name == "b"}) > 30


def test_a_draw_is_a_function_of_its_key_and_carries_the_patch_of_the_stage():
    dataset = MultiTaskDataset([mixture(weight=7)])
    assert dataset.sizes == [7]
    key = SampleKey(0, 11, 0, 2, True, 96)
    item = dataset[key]
    assert item == dataset[key]
    assert item["inputs"][2] == 96
    assert item["data_samples"] == {"generative": True, "task": 0}


def test_evaluation_items_are_those_of_the_sources_one_after_another():
    assert [mixture()[index] for index in (0, 2, 3, 52, 53)] == ["a0", "a2", "b0", "b49", "a0"]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"shares": [1]}, r"shares=\[1\]"), ({"shares": [1, 0]}, "positive share"), ({"weight": 0}, "weight=0")],
)
def test_wrong_shares_are_named(options, message):
    with pytest.raises(DatasetError, match=message):
        mixture(**options)


def test_a_source_of_another_task_is_refused():
    with pytest.raises(DatasetError, match=r"all of this task, got \['hazy'\]"):
        MixtureDataset("noisy", [Source("a", 1), Source("b", 1, task="hazy")], shares=[1, 1])


def test_held_out_pairs_are_every_nth_and_never_trained_on(tmp_path):
    for folder in ("LQ", "GT"):
        (tmp_path / folder).mkdir()
        for number in range(9):
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), np.full((4, 4, 3), number, np.uint8))

    def names(**options):
        return [record["name"] for record in PairedDataset("noisy", tmp_path, **options).records]

    assert names(held_every=4) == ["0", "1", "2", "4", "5", "6", "8"]
    assert names(held_every=4, held=True) == ["3", "7"]
    assert len(names()) == 9
