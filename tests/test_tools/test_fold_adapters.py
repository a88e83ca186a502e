"""tools/deployment/fold_adapters.py: a trained checkpoint becomes one task's, for `dtir restore`."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dtir import cli
from dtir.apis.build import load_restorer
from dtir.models import FixedStep
from tools.deployment import fold_adapters

sys.path.insert(0, str(Path(__file__).parents[1] / "test_engine"))
from tiny_run import train


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    backbone = {"type": "NAFNet", "width": 4, "enc_blk_nums": [1], "middle_blk_num": 1, "dec_blk_nums": [1]}
    stages = [{"name": "finetune", "iters": 3, "lr": 1e-2}]
    options = {"train_cfg.stages": stages, "custom_hooks": [], "model.network.adapter": {"type": "ParallelMoEAdapter"}}
    runner = train(folder, **{"model.network.backbone": {"_delete_": True, **backbone}, **options})
    return folder / f"iter_{runner.iter}.pth"


def run(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["fold_adapters.py", *map(str, words)])
    return fold_adapters.main()


def test_the_folded_checkpoint_restores_its_task_alike(checkpoint, tmp_path, monkeypatch, capsys):
    task = load_restorer(checkpoint).tasks[1]
    out = tmp_path / "folded.pth"
    assert run(monkeypatch, checkpoint, "--task", task, "--out", out) == 0
    assert "the outputs differ by" in capsys.readouterr().out
    folded, whole = load_restorer(out), load_restorer(checkpoint)
    assert isinstance(folded.network, FixedStep)
    assert folded.tasks == (task,)
    x = torch.rand(1, 3, 20, 12, generator=torch.Generator().manual_seed(0))
    step = whole.timestep_of(torch.tensor([1]))
    with torch.inference_mode():
        torch.testing.assert_close(folded.restore(x, folded.timestep_of(torch.tensor([0]))), whole.restore(x, step))
    picture = tmp_path / "a.png"
    cv2.imwrite(str(picture), np.full((9, 7, 3), 90, np.uint8))
    command = ["restore", picture, "--checkpoint", out, "--task", task, "--out", tmp_path / "out", "--device", "cpu"]
    assert cli.main([str(word) for word in command]) == 0
    assert (tmp_path / "out" / "a.png").is_file()


def test_an_unknown_task_is_named(checkpoint, tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, checkpoint, "--task", "fog", "--out", tmp_path / "folded.pth") == 1
    assert "'fog'" in capsys.readouterr().err
    assert not (tmp_path / "folded.pth").exists()
