"""Small copies of pictures for a glance."""

import numpy as np
import pytest
import torch

from dtir.core.errors import ConfigError
from dtir.datasets import DrawnDataset
from dtir.datasets.transforms import RandomThumbnail


def ground(rng, size=(120, 160)):
    return rng.integers(90, 130, (*size, 3), np.uint8)


def test_a_thumbnail_is_the_same_window_of_both():
    rng = np.random.default_rng(1)
    gt = rng.integers(0, 256, (200, 300, 3), np.uint8)
    results = {"gt": gt, "lq": 255 - gt, "rng": rng}
    RandomThumbnail(share=(0.4, 0.6)).transform(results)
    assert results["gt"].shape == results["lq"].shape == (96, 96, 3)
    assert np.abs(results["gt"].astype(int) + results["lq"] - 255).max() <= 1


def test_a_picture_without_damage_stays_one_picture_and_the_patch_of_the_stage_is_its_side():
    gt = ground(np.random.default_rng(0))
    results = {"gt": gt, "lq": gt, "rng": np.random.default_rng(0), "patch": 48}
    RandomThumbnail().transform(results)
    assert results["lq"] is results["gt"]
    assert results["gt"].shape == (48, 48, 3)


def test_the_whole_picture_is_its_mean_by_areas():
    gt = np.arange(192 * 96 * 3, dtype=np.uint32).reshape(192, 96, 3) % 251
    results = {"gt": gt.astype(np.uint8), "lq": None, "rng": np.random.default_rng(0)}
    results["lq"] = results["gt"]
    RandomThumbnail(side=96, share=(1.0, 1.0)).transform(results)
    expected = gt.reshape(96, 2, 96, 3).mean(1)
    assert np.abs(results["gt"] - expected).max() <= 0.5


@pytest.mark.parametrize("share", [(0.0, 1.0), (0.6, 0.5), (0.5, 1.1), 0.5, (0.5,), (0.5, 0.7, 1.0)])
def test_a_share_out_of_range_is_named(share):
    with pytest.raises(ConfigError, match="RandomThumbnail share="):
        RandomThumbnail(share=share)


def test_a_drawn_dataset_takes_other_transforms():
    pipeline = [{"type": "DrawGround", "side": 80}, {"type": "RandomThumbnail", "side": 32}, {"type": "PackPair"}]
    item = DrawnDataset("clean", pipeline=pipeline).training_item(0, np.random.default_rng(0))
    assert item["inputs"].shape == (3, 32, 32)
    assert torch.equal(item["inputs"], item["data_samples"]["gt"])
