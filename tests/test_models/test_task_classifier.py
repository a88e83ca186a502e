"""The estimator's own training: what counts as clean, and that it learns."""

import pytest
import torch

from dtir.core.errors import ConfigError
from dtir.models import TaskClassifier

TASKS = ("noisy", "clean", "hazy")


def samples(gt, task):
    return {"gt": gt, "task": torch.tensor(task), "num_generative": 0}


def test_hardly_touched_pictures_count_as_clean():
    gt = torch.rand(3, 3, 16, 16)
    lq = gt + torch.tensor([0.0, 0.009, 0.011])[:, None, None, None]
    model = TaskClassifier(TASKS, width=4, clean_above=40.0)
    assert model.labels(lq, gt, torch.tensor([0, 2, 2])).tolist() == [1, 1, 2]
    assert TaskClassifier(TASKS[::2], width=4).labels(lq, gt, torch.tensor([0, 1, 1])).tolist() == [0, 1, 1]


def test_the_loss_is_a_smoothed_cross_entropy_and_pictures_stay():
    model, gt = TaskClassifier(TASKS, width=4, label_smoothing=0.3), torch.rand(2, 3, 16, 16)
    lq = torch.stack([gt[0], 1 - gt[1]])
    log_p = model.estimator(lq).log_softmax(1)
    expected = -(0.7 * (log_p[0, 1] + log_p[1, 0]) + 0.1 * log_p.sum()) / 2
    loss = model.losses(lq, samples(gt, [0, 0]))["loss_task"]
    assert torch.isclose(loss, expected)
    loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in model.estimator.head.parameters())
    assert torch.equal(model.restore(lq, torch.zeros(2)), lq)


def test_damages_that_are_there_share_the_target_by_the_difference_they_make():
    model = TaskClassifier(TASKS, width=4, clean_above=40.0)
    damages = torch.tensor([[0.01, 0, 0.09], [0.01, 0, 9e-5], [9e-5, 0, 9e-5], [0, 0, 0], [0.01, 0, 0.09]])
    shares = model.shares(torch.tensor([2, 2, 2, 0, 1]), damages)
    expected = [[0.25, 0, 0.75], [1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]]
    torch.testing.assert_close(shares, torch.tensor(expected))
    only = TaskClassifier(TASKS[::2], width=4).shares(torch.tensor([1]), torch.tensor([[0.01, 0.01]]))
    assert only.tolist() == [[0.5, 0.5]]


def test_one_damage_has_the_same_loss_and_gradient_as_without_telling():
    model, gt = TaskClassifier(TASKS, width=4), torch.rand(3, 3, 16, 16)
    lq, plain = torch.stack([gt[0], 1 - gt[1], 1 - gt[2]]), samples(gt, [0, 0, 2])
    ways = []
    for told in (plain, {**plain, "damages": torch.zeros(3, 3)}):
        model.zero_grad()
        loss = model.losses(lq, told)["loss_task"]
        loss.backward()
        ways.append((loss.detach(), model.estimator.head.weight.grad.clone()))
    torch.testing.assert_close(ways[0], ways[1])
    assert ways[0][1].abs().sum() > 0


def test_two_damages_are_the_weighted_mean_of_the_losses_of_each():
    model, gt = TaskClassifier(TASKS, width=4), torch.rand(1, 3, 16, 16)
    mixed = model.losses(1 - gt, {**samples(gt, [0]), "damages": torch.tensor([[0.09, 0, 0.01]])})["loss_task"]
    alone = [model.losses(1 - gt, samples(gt, [task]))["loss_task"] for task in (0, 2)]
    torch.testing.assert_close(mixed, 0.75 * alone[0] + 0.25 * alone[1])


def test_generative_samples_are_refused():
    with pytest.raises(ConfigError, match="generative_share=0"):
        TaskClassifier(TASKS, width=4).losses(torch.rand(1, 3, 8, 8), {"num_generative": 1})
