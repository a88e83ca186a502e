"""A checkpoint to train from of a model file."""

import copy

import pytest
import torch
from mmengine.registry import DefaultScope

from dtir.apis.models.files import write_model_file
from dtir.core.errors import CheckpointError
from dtir.registry import RESTORERS, SCOPE
from tools.misc import unpack

MODEL = {
    "type": "DiffusionRestorer",
    "tasks": ["noisy", "rainy"],
    "matched_t": {"noisy": 2, "rainy": 4},
    "network": {
        "type": "ExtendedConditioning",
        "extensions": [{"step": 4, "start": 3, "rank": 2, "curve": True}],
        "embed_dim": 8,
        "backbone": {"type": "NAFNet", "width": 4, "enc_blk_nums": [1], "middle_blk_num": 1, "dec_blk_nums": [1]},
    },
    "scheduler": {"type": "DDPMScheduler", "num_timesteps": 6},
}


def build(model: dict, state: dict | None = None) -> torch.nn.Module:
    with DefaultScope.overwrite_default_scope(SCOPE):
        restorer = RESTORERS.build(copy.deepcopy(model)).eval()
    if state is not None:
        restorer.load_state_dict(state)
    return restorer


@pytest.fixture
def stored(tmp_path):
    """A model file in half precision, and what it computes."""
    torch.manual_seed(0)
    restorer = build(MODEL)
    for parameter in restorer.parameters():
        parameter.data = torch.nn.init.normal_(parameter, std=0.2).half().float()
    restorer.model_cfg = MODEL
    write_model_file(tmp_path / "model.safetensors", restorer)
    return restorer


def unpacked(tmp_path, *options: str) -> torch.nn.Module:
    out = tmp_path / "out.pth"
    assert unpack.main([str(tmp_path / "model.safetensors"), str(out), *options]) == 0
    saved = torch.load(out, weights_only=True)
    assert all(value.dtype == torch.float32 for value in saved["state_dict"].values() if value.is_floating_point())
    return build(saved["meta"]["model_cfg"], saved["state_dict"])


@torch.no_grad()
def test_computes_what_the_file_does(tmp_path, stored):
    found, x = unpacked(tmp_path), torch.rand(2, 3, 8, 8)
    assert torch.equal(found.network(x, found.matched_t), stored.network(x, stored.matched_t))


@torch.no_grad()
def test_without_parts_a_task_goes_back_to_where_it_started(tmp_path, stored):
    found, x = unpacked(tmp_path, "--without-parts"), torch.rand(2, 3, 8, 8)
    assert type(found.network).__name__ == "ConditionedNetwork"
    assert found.matched_t.tolist() == [2, 3]
    assert torch.equal(found.network(x, found.matched_t), stored.network(x, torch.tensor([2, 3])))


def test_a_network_without_parts_says_so(tmp_path, stored):
    with pytest.raises(CheckpointError, match="'TimeConditioning', without parts"):
        unpack.without_parts({"network": {"type": "TimeConditioning"}}, {})
    with pytest.raises(CheckpointError, match="'SupervisedRestorer', without parts"):
        unpack.without_parts({"type": "SupervisedRestorer"}, {})
