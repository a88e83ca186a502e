"""The parts keep their contracts, and the config trains: `pytest`, or `python -m pytest`."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dtir.cli import main
from dtir.cli.launching import load_config
from dtir.registry import BACKBONES, DEGRADATIONS, LOSSES, SCHEDULERS

HERE = Path(__file__).resolve().parent
CONFIG = HERE / "config.py"
sys.path.insert(0, str(HERE))

import my_project  # noqa: E402, F401


@pytest.mark.parametrize("size", [(1, 1), (13, 8)])
def test_the_backbone_keeps_the_size_and_learns(size):
    network = BACKBONES.build({"type": "MyNet", "width": 4, "depth": 2})

    output = network(torch.rand(2, 3, *size))
    output.sum().backward()

    assert output.shape == (2, 3, *size)
    assert all(p.grad is not None for p in network.parameters())
    assert all(name in dict(network.named_modules()) for name in network.ordered_blocks())


def test_the_degradation_is_a_function_of_its_generator():
    degrade, image = DEGRADATIONS.build({"type": "MyStripes"}), np.full((9, 7, 3), 0.5, np.float32)
    first, again, other = (degrade(image, np.random.default_rng(seed), 0.5) for seed in (0, 0, 1))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (first.shape, first.dtype) == (image.shape, np.float32)


def test_the_process_goes_from_the_picture_to_noise():
    mean, sigma = SCHEDULERS.build({"type": "MySineScheduler"}).marginal(torch.arange(51))

    assert (mean[0].item(), sigma[0].item()) == (1, 0)
    assert (sigma.flatten().diff() > 0).all()
    assert torch.allclose(mean**2 + sigma**2, torch.ones_like(mean))


def test_the_loss_is_one_value_per_sample():
    x = torch.rand(2, 3, 4, 5)
    assert torch.equal(LOSSES.build({"type": "MyRowLoss"})(x, x), torch.zeros(2))


def test_the_config_is_valid():
    assert load_config(CONFIG).model.network.backbone.type == "MyNet"


def test_the_training_runs_through_all_stages(tmp_path):
    assert main(["train", str(CONFIG), "--smoke", "--work-dir", str(tmp_path)]) == 0

    table = (tmp_path / "report" / "results.md").read_text()
    assert "RowError" in table
    assert "striped" in table
