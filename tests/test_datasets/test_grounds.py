import cv2
import numpy as np
import pytest
import torch

from dtir.core.errors import ConfigError
from dtir.datasets import DrawnDataset
from dtir.datasets.transforms.grounds import ground_picture


def grounds(number, side=120):
    return [ground_picture(np.random.default_rng(seed), side) for seed in range(number)]


def between_channels(picture):
    """The least correlation of the finest detail of two channels."""
    detail = picture.astype(np.float64) - cv2.GaussianBlur(picture.astype(np.float64), (0, 0), 4)
    return np.corrcoef(detail.reshape(-1, 3).T).min()


def test_a_ground_is_that_of_its_random_numbers():
    first, again, other = (ground_picture(np.random.default_rng(seed), 80) for seed in (1, 1, 2))
    assert (first.shape, first.dtype) == ((80, 80, 3), np.uint8)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_their_grain_is_in_all_channels_alike_as_that_of_noise_is_not():
    assert between_channels(np.random.default_rng(0).normal(128, 20, (120, 120, 3))) < 0.05
    assert min(map(between_channels, grounds(20))) > 0.5


def test_they_are_of_many_colours_and_neither_black_nor_burnt_out():
    means = np.array([picture.mean((0, 1)) for picture in grounds(30)])
    assert means.min() > 10
    assert means.max() < 250
    assert means.std(0).min() > 20


def test_shadows_lie_on_them():
    dataset = DrawnDataset("shadowed", degradation="CastShadow", severity=0.6, draw="DrawGround", patch=96)
    items = [dataset.training_item(0, np.random.default_rng(seed)) for seed in range(8)]
    darker = [(item["data_samples"]["gt"].float() - item["inputs"].float()).mean() for item in items]
    assert min(darker) >= 0
    assert max(darker) > 15
    clean = DrawnDataset("clean", draw="DrawGround", patch=96).training_item(0, np.random.default_rng(0))
    assert torch.equal(clean["inputs"], clean["data_samples"]["gt"])


def test_the_smallest_side_is_drawn_and_a_smaller_one_refused():
    assert all(picture.shape == (10, 10, 3) for picture in grounds(30, side=10))
    with pytest.raises(ConfigError, match="side=9: expected at least 10"):
        DrawnDataset("clean", side=9, draw="DrawGround")
