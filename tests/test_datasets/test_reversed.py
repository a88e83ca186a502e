"""Pairs the other way round."""

import numpy as np
import pytest
import torch

from dtir.core.errors import DatasetError
from dtir.datasets import ReversedDataset, SyntheticDataset


@pytest.fixture(name="dataset")
def dataset_fixture():
    return SyntheticDataset("noisy", "asset://photos", patch=24)


def test_lq_and_gt_are_exchanged(dataset):
    forth, back = (
        each.training_item(1, np.random.default_rng(0), patch=16)
        for each in (dataset, ReversedDataset("noisy", dataset))
    )
    assert torch.equal(back["inputs"], forth["data_samples"]["gt"])
    assert torch.equal(back["data_samples"]["gt"], forth["inputs"])
    assert not torch.equal(back["inputs"], forth["inputs"])
    assert back["inputs"].shape == (3, 16, 16)


def test_evaluation_and_number_are_the_datasets(dataset):
    reversed_pairs = ReversedDataset("noisy", dataset)
    assert len(reversed_pairs) == len(dataset)
    assert torch.equal(reversed_pairs[0]["inputs"], dataset[0]["inputs"])


def test_another_task_is_refused(dataset):
    with pytest.raises(DatasetError, match="reversed pairs of 'hazy': the dataset is of 'noisy'"):
        ReversedDataset("hazy", dataset)
