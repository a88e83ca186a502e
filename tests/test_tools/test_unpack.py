"""A checkpoint to train from of a model file."""

import pytest
import torch
from restorer_with_parts import build, stored

from dtir.core.errors import CheckpointError
from tools.misc import unpack


@pytest.fixture(name="model")
def model_fixture(tmp_path):
    """A model file in half precision, and what it computes."""
    return stored(tmp_path / "model.safetensors")


def unpacked(tmp_path, *options: str) -> torch.nn.Module:
    out = tmp_path / "out.pth"
    assert unpack.main([str(tmp_path / "model.safetensors"), str(out), *options]) == 0
    saved = torch.load(out, weights_only=True)
    assert all(value.dtype == torch.float32 for value in saved["state_dict"].values() if value.is_floating_point())
    return build(saved["meta"]["model_cfg"], saved["state_dict"])


@torch.no_grad()
def test_computes_what_the_file_does(tmp_path, model):
    found, x = unpacked(tmp_path), torch.rand(2, 3, 8, 8)
    assert torch.equal(found.network(x, found.matched_t), model.network(x, model.matched_t))


@torch.no_grad()
def test_without_parts_a_task_goes_back_to_where_it_started(tmp_path, model):
    found, x = unpacked(tmp_path, "--without-parts"), torch.rand(2, 3, 8, 8)
    assert type(found.network).__name__ == "ConditionedNetwork"
    assert found.matched_t.tolist() == [2, 3]
    assert torch.equal(found.network(x, found.matched_t), model.network(x, torch.tensor([2, 3])))


def test_a_network_without_parts_says_so():
    with pytest.raises(CheckpointError, match="'TimeConditioning', without parts"):
        unpack.without_parts({"network": {"type": "TimeConditioning"}}, {})
    with pytest.raises(CheckpointError, match="'SupervisedRestorer', without parts"):
        unpack.without_parts({"type": "SupervisedRestorer"}, {})
