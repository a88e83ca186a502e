import numpy as np
import pytest
import torch

from dtir.core.errors import ConfigError
from dtir.datasets import DrawnDataset
from dtir.datasets.transforms.drawing import drawn_picture


def item_of(dataset, seed=0, **options):
    return dataset.training_item(0, np.random.default_rng(seed), **options)


def test_a_picture_is_that_of_its_random_numbers():
    pictures = [drawn_picture(np.random.default_rng(seed), 80) for seed in (1, 1, 2)]
    assert (pictures[0].shape, pictures[0].dtype) == ((80, 80, 3), np.uint8)
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert (pictures[0] != pictures[2]).any()


def test_pages_diagrams_and_fields_are_among_them():
    pictures = [drawn_picture(np.random.default_rng(seed), 120) for seed in range(60)]
    even = [picture for picture in pictures if (picture == picture[0, 0]).all()]
    white = [picture for picture in pictures if np.mean(picture == 255) > 0.6]
    assert 2 <= len(even) <= 20
    assert 10 <= len(white) <= 40
    # Text is ink on paper: most pixels are the paper, and there are far from it.
    written = [p for p in white if np.abs(p.astype(int) - 255).max() > 100]
    assert len(written) >= 5


def test_training_items_are_clean_patches_where_no_degradation_is_named():
    item = item_of(DrawnDataset("clean", patch=48), patch=64)
    assert item["inputs"].shape == (3, 64, 64)
    assert torch.equal(item["inputs"], item["data_samples"]["gt"])
    assert not torch.equal(item["inputs"], item_of(DrawnDataset("clean", patch=64), seed=1)["inputs"])


def test_they_are_degraded_like_photographs():
    dataset = DrawnDataset("noisy", degradation="GaussianNoise", severity=0.5, patch=64)
    item = item_of(dataset)
    spread = (item["inputs"].float() - item["data_samples"]["gt"].float()).std()
    assert spread > 10
    generative = item_of(dataset, generative=True)
    assert torch.equal(generative["inputs"], generative["data_samples"]["gt"])


@pytest.mark.parametrize("degradation", [None, "GaussianNoise"])
def test_evaluation_items_are_the_same_each_time(degradation):
    dataset = DrawnDataset("noisy", length=3, degradation=degradation, side=90)
    assert len(dataset) == 3
    first, again, other = dataset[0], dataset[0], dataset[1]
    assert torch.equal(first["inputs"], again["inputs"])
    assert not torch.equal(first["data_samples"]["gt"], other["data_samples"]["gt"])
    assert first["inputs"].shape == (3, 90, 90)


def test_the_smallest_side_is_drawn_and_a_smaller_one_refused():
    for seed in range(40):
        assert drawn_picture(np.random.default_rng(seed), 10).shape == (10, 10, 3)
    with pytest.raises(ConfigError, match="side=9: expected at least 10"):
        DrawnDataset("clean", side=9)
