"""The parts of tasks' own of a model on a network that was trained further without them."""

import pytest
import torch
from restorer_with_parts import build, stored

from dtir.core.errors import CheckpointError
from tools.misc import graft, unpack


@pytest.fixture
def folder(tmp_path):
    """model.safetensors, which has parts, and further.pth, its network with other weights."""
    stored(tmp_path / "model.safetensors")
    assert unpack.main([str(tmp_path / "model.safetensors"), str(tmp_path / "bare.pth"), "--without-parts"]) == 0
    saved = torch.load(tmp_path / "bare.pth", weights_only=True)
    saved["state_dict"] = {k: v if k == "matched_t" else 1.5 * v for k, v in saved["state_dict"].items()}
    torch.save(saved, tmp_path / "further.pth")
    return tmp_path


def run(folder) -> int:
    return graft.main([str(folder / name) for name in ("further.pth", "model.safetensors", "out.pth")])


@torch.no_grad()
def test_the_network_is_the_one_and_the_parts_are_the_others(folder):
    assert run(folder) == 0
    saved = torch.load(folder / "out.pth", weights_only=True)
    found = build(saved["meta"]["model_cfg"], saved["state_dict"])
    bare = torch.load(folder / "further.pth", weights_only=True)
    further, x = build(bare["meta"]["model_cfg"], bare["state_dict"]), torch.rand(2, 3, 8, 8)
    assert found.matched_t.tolist() == [2, 4]
    # At steps without parts, that of the rainy one's start too, it is the network that was trained further.
    steps = torch.tensor([2, 3])
    assert torch.equal(found.network(x, steps), further.network(x, steps))
    own = found.network.extensions[0].state_dict()
    _, kept, _ = graft.read_model_file(folder / "model.safetensors")
    assert all(torch.equal(own[key], kept[f"network.extensions.0.{key}"].float()) for key in own)


def test_another_network_is_refused(folder):
    saved = torch.load(folder / "further.pth", weights_only=True)
    config = saved["meta"]["model_cfg"]
    wider = {**config["network"], "backbone": {**config["network"]["backbone"], "width": 8}}
    for key, value in {"network": wider, "tasks": ["rainy", "noisy"]}.items():
        torch.save({**saved, "meta": {"model_cfg": {**config, key: value}}}, folder / "further.pth")
        with pytest.raises(CheckpointError, match=f"differ in model.{key}:"):
            run(folder)
    torch.save({"state_dict": saved["state_dict"]}, folder / "further.pth")
    with pytest.raises(CheckpointError, match="no checkpoint of a dtir training"):
        run(folder)
    assert not (folder / "out.pth").exists()
    with pytest.raises(CheckpointError, match=r"differ in more than parts of tasks' own: key 'network\.extra'"):
        graft.grafted({"network.extra": torch.zeros(1)}, {})
