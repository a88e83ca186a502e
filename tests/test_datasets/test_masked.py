"""Damaged pictures with hidden squares: what is hidden, what stays, and what is refused."""

import numpy as np
import pytest
import torch

from dtir.core.errors import DatasetError
from dtir.datasets import MaskedDataset


class Source:
    """White LQ, grey GT."""

    task = "noisy"
    own_steps = (3, 4)

    def __len__(self):
        return 5

    def training_item(self, index, rng, generative=False, patch=40):
        lq, gt = (torch.full((3, patch, patch - 6), value, dtype=torch.uint8) for value in (255, 100))
        return {"inputs": gt if generative else lq, "data_samples": {"gt": gt, "generative": generative, "step": 4}}

    def __getitem__(self, index):
        return f"evaluation {index}"


def masked(**options):
    return MaskedDataset("noisy", Source(), **{"square": 8, **options})


def item(dataset, seed=0, **options):
    return dataset.training_item(1, np.random.default_rng(seed), **options)


@pytest.mark.parametrize(("share", "hidden"), [(0.5, 12), (0.2, 5), (0.01, 1), (0.99, 24)])
def test_a_share_of_whole_squares_is_black_in_all_channels(share, hidden):
    found = item(masked(share=share))["inputs"]
    assert found.dtype == torch.uint8
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()
    squares = [found[0, y : y + 8, x : x + 8] for y in range(0, 40, 8) for x in range(0, 34, 8)]
    assert all(len(square.unique()) == 1 for square in squares)
    assert sum(not square.any() for square in squares) == hidden


@pytest.mark.parametrize("square", [3, 41, 83])
def test_squares_of_any_side_begin_at_the_corner(square):
    found = item(masked(square=square), patch=2 * square + 1)["inputs"][0]
    edges = [(line[1:] != line[:-1]).any(1).nonzero()[:, 0] + 1 for line in (found, found.T)]
    assert set(torch.cat(edges).tolist()) == {square, 2 * square}


def test_the_gt_is_the_damaged_picture_and_the_rest_is_kept():
    samples = item(masked())["data_samples"]
    assert (samples["gt"] == 255).all()
    assert (samples["generative"], samples["step"]) == (False, 4)


def test_squares_are_drawn_from_the_generator_alone():
    dataset = masked()
    first, again, other = (item(dataset, seed)["inputs"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_generative_samples_and_evaluation_are_the_datasets():
    dataset = masked()
    generative = item(dataset, generative=True)
    assert (generative["inputs"] == 100).all()
    assert dataset[2] == "evaluation 2"
    assert len(dataset) == 5
    assert dataset.own_steps == (3, 4)


def test_the_patch_of_the_stage_reaches_the_dataset():
    assert item(masked(), patch=16)["inputs"].shape == (3, 16, 10)


def test_a_patch_of_one_square_is_refused():
    with pytest.raises(DatasetError, match=r"40 x 34 pixels has one square of 64"):
        item(masked(square=64))


def test_squares_of_no_pixel_are_refused():
    with pytest.raises(DatasetError, match="square=0: expected at least 1 pixel"):
        masked(square=0)


@pytest.mark.parametrize("share", [0, 1, float("nan")])
def test_a_share_out_of_range_is_named(share):
    with pytest.raises(DatasetError, match=f"share={share}"):
        masked(share=share)


def test_another_task_is_refused():
    with pytest.raises(DatasetError, match="masked pictures of 'hazy': the dataset is of 'noisy'"):
        MaskedDataset("hazy", Source())
