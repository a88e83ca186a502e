"""Steps for each picture's own strength of damage."""

import json
import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

from dtir.registry import RESTORERS, SCOPE
from tools.analysis import calibrate_steps

CONFIG = {
    "type": "DiffusionRestorer",
    "tasks": ["noisy"],
    "network": {"type": "TimeConditioning", "embed_dim": 8, "backbone": {"type": "NAFNet", "width": 4}},
    "scheduler": {"type": "DDPMScheduler", "num_timesteps": 6},
}


@pytest.fixture(name="checkpoint")
def checkpoint_fixture(tmp_path):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(SCOPE):
        model = RESTORERS.build(CONFIG)
    torch.save({"meta": {"model_cfg": CONFIG}, "state_dict": model.state_dict()}, tmp_path / "model.pth")
    for kind in ("LQ", "GT"):
        (tmp_path / kind).mkdir()
        picture = np.random.default_rng(0).integers(0, 255, (24, 20, 3), np.uint8)
        assert cv2.imwrite(str(tmp_path / kind / "a.png"), picture)
    return tmp_path / "model.pth"


def run(monkeypatch, checkpoint, *arguments: str):
    out = checkpoint.with_name("out.json")
    command = ["calibrate_steps", str(checkpoint), "--task", "noisy", "--out", str(out), "--crop", "16", *arguments]
    monkeypatch.setattr(sys, "argv", command)
    return calibrate_steps.main(), out


def test_a_table_for_severities(monkeypatch, checkpoint):
    arguments = ("--clean", str(checkpoint.parent / "GT"), "--severities", "0.1", "0.9", "--first", "1")
    code, out = run(monkeypatch, checkpoint, *arguments)
    assert code == 0
    (low, first), (high, second) = json.loads(out.read_text())
    assert (low, high) == (0.1, 0.9)
    assert 1 <= first <= second <= 6


def test_a_step_for_each_pair(monkeypatch, checkpoint):
    code, out = run(monkeypatch, checkpoint, "--pairs", str(checkpoint.parent))
    assert code == 0
    # The two pictures are equal, so that there is nothing to do.
    assert json.loads(out.read_text()) == {"a": 0}


def test_errors_are_the_users(monkeypatch, checkpoint, capsys):
    code, _ = run(monkeypatch, checkpoint, "--pairs", str(checkpoint.parent / "nowhere"))
    assert code == 2
    assert "nowhere" in capsys.readouterr().err
