"""A deeper network that goes on from a shallower one's weights."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from dtir.registry import RESTORERS, SCOPE
from tools.misc import deepen

BACKBONE = {"type": "NAFNet", "width": 4, "enc_blk_nums": [1], "middle_blk_num": 1, "dec_blk_nums": [1]}
MODEL = {
    "type": "DiffusionRestorer",
    "tasks": ["noisy"],
    "network": {"type": "TimeConditioning", "embed_dim": 8, "backbone": BACKBONE},
    "scheduler": {"type": "DDPMScheduler", "num_timesteps": 6},
}


def model_with(**settings) -> dict:
    model = copy.deepcopy(MODEL)
    model["network"]["backbone"].update(settings)
    return model


def build(model: dict) -> torch.nn.Module:
    with DefaultScope.overwrite_default_scope(SCOPE):
        return RESTORERS.build(copy.deepcopy(model)).eval()


@pytest.fixture(name="shallow")
def shallow_fixture(tmp_path):
    """A trained restorer, that is one whose every block, and the modulation of it, does something."""
    torch.manual_seed(0)
    restorer = build(MODEL)
    for parameter in restorer.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    torch.save({"meta": {"model_cfg": MODEL}, "state_dict": restorer.state_dict()}, tmp_path / "shallow.pth")
    return restorer


def run(tmp_path, **settings) -> int:
    Config({"model": model_with(**settings)}).dump(tmp_path / "config.py")
    return deepen.main([str(tmp_path / name) for name in ("config.py", "shallow.pth", "deep.pth")])


@torch.no_grad()
def test_computes_the_same_and_the_new_blocks_learn(shallow, tmp_path):
    wanted = {"middle_blk_num": 3, "dec_blk_nums": [2]}
    assert run(tmp_path, **wanted) == 0
    saved = torch.load(tmp_path / "deep.pth", weights_only=True)
    deep = build(saved["meta"]["model_cfg"])
    deep.load_state_dict(saved["state_dict"])
    pictures, t = torch.rand(2, 3, 12, 16), torch.tensor([1, 6])
    torch.testing.assert_close(deep.network(pictures, t), shallow.network(pictures, t))
    with torch.enable_grad():
        deep.network(pictures, t).square().mean().backward()
    assert deep.network.backbone.middle_blks[2].beta.grad.abs().sum() > 0


@pytest.mark.parametrize("settings", [{"width": 6}, {"enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]}])
def test_refuses_another_kind_of_network(shallow, tmp_path, capsys, settings):
    assert run(tmp_path, **settings) == 2
    assert "shallower" in capsys.readouterr().err
    assert not (tmp_path / "deep.pth").exists()
