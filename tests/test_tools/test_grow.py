"""A larger network that goes on from a smaller one's weights."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from dtir.registry import RESTORERS, SCOPE
from tools.misc import grow

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


@pytest.fixture(name="small")
def small_fixture(tmp_path):
    """A trained restorer, that is one whose every block, and the modulation of it, does something."""
    torch.manual_seed(0)
    restorer = build(MODEL)
    for parameter in restorer.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    torch.save({"meta": {"model_cfg": MODEL}, "state_dict": restorer.state_dict()}, tmp_path / "small.pth")
    return restorer


def run(tmp_path, **settings) -> int:
    Config({"model": model_with(**settings)}).dump(tmp_path / "config.py")
    return grow.main([str(tmp_path / name) for name in ("config.py", "small.pth", "large.pth")])


@torch.no_grad()
def test_computes_the_same_and_the_new_blocks_learn(small, tmp_path):
    wanted = {"middle_blk_num": 3, "dec_blk_nums": [2]}
    assert run(tmp_path, **wanted) == 0
    saved = torch.load(tmp_path / "large.pth", weights_only=True)
    large = build(saved["meta"]["model_cfg"])
    large.load_state_dict(saved["state_dict"])
    pictures, t = torch.rand(2, 3, 12, 16), torch.tensor([1, 6])
    torch.testing.assert_close(large.network(pictures, t), small.network(pictures, t))
    with torch.enable_grad():
        large.network(pictures, t).square().mean().backward()
    assert large.network.backbone.middle_blks[2].beta.grad.abs().sum() > 0


@torch.no_grad()
def test_tasks_get_parts_of_their_own_at_steps_of_their_own_one_after_the_other(small, tmp_path):
    model = copy.deepcopy(MODEL)
    extensions = [{"step": 4, "start": 3, "rank": 2, "curve": True}, {"step": 2, "start": 1, "rank": 3}]
    for number, step in enumerate((4, 2)):
        model["network"].update(type="ExtendedConditioning", extensions=extensions[: number + 1])
        model["matched_t"] = {"noisy": step}
        Config({"model": model}).dump(tmp_path / "config.py")
        names = ("config.py", ("small.pth", "large.pth")[number], "large.pth")
        assert grow.main([str(tmp_path / name) for name in names]) == 0
        saved = torch.load(tmp_path / "large.pth", weights_only=True)
        large = build(saved["meta"]["model_cfg"])
        large.load_state_dict(saved["state_dict"])
        assert large.matched_t.tolist() == [step]
    pictures = torch.rand(2, 3, 12, 16)
    for t, as_before in ((3, 3), (4, 3), (2, 1), (5, 5)):
        found = large.network(pictures, torch.full((2,), t))
        torch.testing.assert_close(found, small.network(pictures, torch.full((2,), as_before)), rtol=0, atol=0)


@pytest.mark.parametrize("settings", [{"width": 6}, {"enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]}])
def test_refuses_another_kind_of_network(small, tmp_path, capsys, settings):
    assert run(tmp_path, **settings) == 2
    assert "smaller network" in capsys.readouterr().err
    assert not (tmp_path / "large.pth").exists()
