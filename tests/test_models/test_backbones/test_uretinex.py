from argparse import Namespace

import pytest
import torch
from parity_case import ParityCase

from dtir.apis import load_backbone
from dtir.core.errors import CheckpointError, ConfigError
from dtir.models.backbones import URetinexNet


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@torch.no_grad()
def test_equals_the_published_network(layout, parity_dir):
    case = ParityCase(parity_dir, "uretinex")
    model = case.load(URetinexNet(**case.meta["kwargs"]))
    assert sum(p.numel() for p in model.parameters()) == case.meta["params"] == 340_105
    floors = iter(case.meta["fp64_maxdiff"])
    for group in case.meta["groups"]:
        (x,), expected = ([torch.from_numpy(case.arrays[n]) for n in group[k]] for k in ("inputs", "outputs"))
        for found, y in zip(model(x.to(memory_format=layout)), expected, strict=True):
            assert (found - y).abs().max() <= 10 * next(floors)


def test_default_settings_are_the_published_ones(parity_dir):
    case = ParityCase(parity_dir, "uretinex")
    model = URetinexNet()
    assert all(getattr(model, k) == v for k, v in case.meta["kwargs"].items() if k != "concat_L")
    assert model.model_R.concat_L == case.meta["kwargs"]["concat_L"]


@pytest.mark.parametrize("concat_L", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (17, 4)])
@torch.no_grad()
def test_any_size(size, concat_L):
    enhanced, reflectance, illumination = URetinexNet(round=2, concat_L=concat_L)(torch.rand(2, 3, *size))
    assert enhanced.shape == reflectance.shape == (2, 3, *size)
    assert illumination.shape == (2, 1, *size)


@pytest.mark.parametrize("concat_L", [True, False])
def test_blocks_are_called_in_every_step(concat_L):
    model, calls = URetinexNet(round=3, concat_L=concat_L), []
    for name in model.ordered_blocks():
        model.get_submodule(name).register_forward_hook(lambda _, args, out, name=name: calls.append(name))
    model(torch.rand(1, 3, 8, 8))
    assert {name: calls.count(name) for name in model.ordered_blocks()} == {
        name: 3 if name.startswith(("model_R.", "model_L.")) else 1 for name in model.ordered_blocks()
    }


def test_an_untrained_network_learns_everywhere():
    torch.manual_seed(0)
    model = URetinexNet()
    model(torch.rand(1, 3, 16, 16))[0].square().mean().backward()
    assert all(p.grad.any() for p in model.parameters())


@torch.no_grad()
def test_features_are_channels_last_in_every_layout():
    model, formats = URetinexNet(), []
    for name in model.ordered_blocks():
        model.get_submodule(name).register_forward_hook(lambda _, args, out: formats.append(out.stride(1)))
    model(torch.rand(2, 3, 8, 8))
    assert set(formats) == {1}


def test_one_network_of_the_three_published_files(tmp_path):
    torch.manual_seed(0)
    model = URetinexNet(round=2, gamma=0.3, lamda=0.4, Roffset=0.01, Loffset=0.02)
    opts = Namespace(round=2, gamma=0.3, lamda=0.4, Roffset=0.01, Loffset=0.02, concat_L=True, R_model="HalfDnCNNSE")
    files = {
        "init_low": {"state_dict": {"model_R": model.model_Decom_low.state_dict()}},
        "unfolding": {
            "state_dict": {"model_R": model.model_R.state_dict(), "model_L": model.model_L.state_dict()},
            "opts": opts,
        },
        "L_adjust": {
            "state_dict": {"model_A": model.adjust_model.state_dict()},
            "opts": Namespace(A_model="naive"),
        },
    }
    for stem, content in files.items():
        torch.save(content, tmp_path / f"{stem}.pth")
    x = torch.rand(1, 3, 8, 8)
    loaded = load_backbone("URetinexNet", tmp_path)
    for found, expected in zip(loaded(x), model(x), strict=True):
        assert torch.equal(found, expected)
    (tmp_path / "L_adjust.pth").unlink()
    with pytest.raises(CheckpointError, match=r"L_adjust\.pth"):
        load_backbone("URetinexNet", tmp_path)
    with pytest.raises(CheckpointError, match="a folder"):
        load_backbone("NAFNet", tmp_path)


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match="round=0"):
        URetinexNet(round=0)
    with pytest.raises(ConfigError, match="lamda=0"):
        URetinexNet(lamda=0)
