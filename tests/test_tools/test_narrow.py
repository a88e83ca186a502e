"""A network that takes the time step in fewer parameters."""

import pytest
import torch
from restorer_with_parts import build

from tools.misc import narrow

MODEL = {
    "type": "DiffusionRestorer",
    "tasks": ["noisy", "rainy", "hazy"],
    "matched_t": {"noisy": 2, "rainy": 5, "hazy": 3},
    "network": {
        "type": "ExtendedConditioning",
        "extensions": [{"step": 3, "start": 2, "rank": 2}],
        "embed_dim": 8,
        "backbone": {"type": "NAFNet", "width": 4, "enc_blk_nums": [1], "middle_blk_num": 1, "dec_blk_nums": [1]},
    },
    "scheduler": {"type": "DDPMScheduler", "num_timesteps": 6},
}


def trained(tmp_path, model: dict = MODEL) -> torch.nn.Module:
    torch.manual_seed(0)
    restorer = build(model)
    for parameter in restorer.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    torch.save({"meta": {"model_cfg": model}, "state_dict": restorer.state_dict()}, tmp_path / "wide.pth")
    return restorer


def run(tmp_path) -> int:
    return narrow.main([str(tmp_path / "wide.pth"), str(tmp_path / "narrow.pth")])


@torch.no_grad()
def test_computes_the_same_at_the_steps_of_its_tasks_with_fewer_parameters(tmp_path):
    wide = trained(tmp_path)
    assert run(tmp_path) == 0
    saved = torch.load(tmp_path / "narrow.pth", weights_only=True)
    small = build(saved["meta"]["model_cfg"])
    small.load_state_dict(saved["state_dict"])
    # That of the part of its own is where it started: two steps, whose difference is one direction.
    assert small.network.to_modulation.weight.shape[1] == 1
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in wide.parameters())
    pictures, t = torch.rand(3, 3, 12, 16), wide.matched_t
    torch.testing.assert_close(small.network(pictures, t), wide.network(pictures, t))
    between = torch.full((3,), 4)
    assert (small.network(pictures, between) - wide.network(pictures, between)).abs().max() > 1e-3


def test_refuses_what_is_narrow_already_and_what_has_one_step(tmp_path, capsys):
    trained(tmp_path)
    run(tmp_path)
    (tmp_path / "narrow.pth").rename(tmp_path / "wide.pth")
    assert run(tmp_path) == 2
    assert "no time modulation that could be narrowed" in capsys.readouterr().err
    trained(tmp_path, {**MODEL, "matched_t": {"noisy": 2, "rainy": 2, "hazy": 3}})
    assert run(tmp_path) == 2
    assert "time step [2]" in capsys.readouterr().err
    assert not (tmp_path / "narrow.pth").exists()


def test_a_rank_of_none_is_refused():
    with pytest.raises(Exception, match="modulation_rank=0 must be at least 1"):
        build({**MODEL, "network": {**MODEL["network"], "modulation_rank": 0}})
