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


def test_it_learns_to_tell_noise_from_haze_and_leaves_pictures_alone():
    torch.manual_seed(0)
    model = TaskClassifier(TASKS, width=8)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(80):
        gt = torch.rand(9, 3, 1, 1).expand(9, 3, 16, 16) * 0.4
        lq = torch.cat([gt[:3] + 0.3 * torch.randn(3, 3, 16, 16), gt[3:6], gt[6:] * 0.5 + 0.5])
        loss = model.losses(lq, samples(gt, [0, 0, 0, 2, 2, 2, 2, 2, 2]))["loss_task"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert model.estimator(lq).argmax(1).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert torch.equal(model.restore(lq, torch.zeros(9)), lq)


def test_generative_samples_are_refused():
    with pytest.raises(ConfigError, match="generative_share=0"):
        TaskClassifier(TASKS, width=4).losses(torch.rand(1, 3, 8, 8), {"num_generative": 1})
