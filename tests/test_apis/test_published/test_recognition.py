"""A network and its settings are told from the keys and shapes of a state dict alone."""

import inspect
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from dtir.apis import load_backbone
from dtir.apis.published.recognition import recognised
from dtir.core.errors import CheckpointError, ConfigError
from dtir.models.backbones import NAFNet, PReNet, Restormer, XRestormer
from dtir.models.backbones.parts.reading import count, factor
from dtir.models.backbones.zoo import ZOO, registered_networks
from dtir.models.building import build_backbone
from dtir.registry import BACKBONES
from dtir.testing import TinyBackbone

sys.path.insert(0, str(Path(__file__).parents[2] / "test_models/test_backbones"))
from parity_case import ParityCase

# What a state dict cannot tell: settings with the same keys and shapes as another one.
TWINS = {"nafnet_local_gopro_w32": "nafnet_gopro_w32", "x_restormer_sr4": "x_restormer"}
# Class of ours for the published name of a fixture's class, where that is another or names several.
OURS = {
    "daclip_unet": "DACLIPUNet",
    "eedtp_net_moe": "EEDTPRestorationNet",
    "irsde_denoise_nafnet": "DenoisingNAFNet",
    "irsde_denoise_unet": "DenoisingUNet",
    "nafnet_local": "NAFNet",
    "ram_swinir": "RAMSwinIR",
    "uretinex": "URetinexNet",
}
PARITY = (
    "daclip_unet",
    "eedtp_net_moe",
    "dehazeformer_conv",
    "dehazeformer_t",
    "diffuir_unet",
    "griddehazenet",
    "irsde_conditional_nafnet",
    "irsde_conditional_unet",
    "irsde_denoise_nafnet",
    "irsde_denoise_unet",
    "mirnet",
    "mprnet",
    "nafnet",
    "nafnet_local",
    "prenet",
    "prenet_r",
    "prn",
    "promptir_1block",
    "ram_swinir",
    "resshift_unet",
    "resshift_unet_mask",
    "restormer_biasfree",
    "restormer_dualpixel",
    "restormer_withbias",
    "uretinex",
    "xrestormer",
    "xrestormer_sr4",
)
# Of the fixtures' settings, what no key or shape depends on.
UNTOLD = {"use_GPU", "train_size", "fast_imp", "attention", "dual_pixel_task", "scale", "num_heads"}


def arguments(config: dict) -> dict:
    """All constructor arguments of a config, the defaults too, lists in place of tuples."""
    bound = inspect.signature(BACKBONES.get(config["type"])).bind(**{k: v for k, v in config.items() if k != "type"})
    bound.apply_defaults()
    return {name: list(value) if isinstance(value, tuple) else value for name, value in bound.arguments.items()}


@pytest.mark.parametrize("name", ZOO)
def test_every_published_setting(name):
    expected = ZOO[TWINS.get(name, name)].backbone
    with torch.device("meta"):
        state = build_backbone(ZOO[name].backbone).state_dict()
    config, weights = recognised(state)
    assert config["type"] == expected["type"]
    assert arguments(config) == arguments(expected)
    assert weights.state.keys() == state.keys()


@pytest.mark.parametrize("name", PARITY)
def test_every_published_network_of_the_fixtures(name, parity_dir):
    case = ParityCase(parity_dir, name)
    config, _ = recognised({"state_dict": {f"module.{key}": value for key, value in case.state_dict().items()}})
    kind = OURS.get(name, case.meta["cls"])
    assert config["type"] == kind
    known = inspect.signature(BACKBONES.get(kind)).parameters
    expected = {key: value for key, value in case.meta["kwargs"].items() if key in known}
    found, expected = arguments(config), arguments({"type": kind, **expected})
    assert {k: v for k, v in found.items() if k not in UNTOLD} == {k: v for k, v in expected.items() if k not in UNTOLD}


def test_every_network_with_published_settings_reads_them():
    readers = {kind for kind in registered_networks() if "PUBLISHED" in vars(kind)}
    assert readers
    assert all(hasattr(kind, "settings_of") for kind in readers)


def test_a_file_needs_no_name(tmp_path):
    torch.manual_seed(0)
    model = Restormer(dim=8, num_blocks=(1, 1, 1, 2), num_refinement_blocks=1, LayerNorm_type="BiasFree").eval()
    torch.save({"params": model.state_dict()}, tmp_path / "net.pth")
    x = torch.rand(1, 3, 9, 13)
    with torch.no_grad():
        torch.testing.assert_close(load_backbone(tmp_path / "net.pth")(x), model(x), rtol=0, atol=0)


def test_a_class_reads_settings_that_nobody_published(tmp_path):
    model = NAFNet(width=4, enc_blk_nums=[1, 0, 2], middle_blk_num=3, dec_blk_nums=[0, 1, 1])
    torch.save(model.state_dict(), tmp_path / "net.pth")
    assert load_backbone("NAFNet", tmp_path / "net.pth").state_dict().keys() == model.state_dict().keys()


def test_what_no_key_tells_can_be_given(tmp_path):
    small = {"dim": 8, "num_blocks": (1, 1, 1, 1), "num_refinement_blocks": 1, "window_size": 4}
    torch.save(XRestormer(**small, scale=2).state_dict(), tmp_path / "net.pth")
    assert load_backbone(tmp_path / "net.pth").traits.scale == 1
    assert load_backbone(tmp_path / "net.pth", scale=2).traits.scale == 2
    with pytest.raises(ConfigError, match=r"unknown key 'XRestormer\.scal'\. Did you mean 'scale'"):
        load_backbone(tmp_path / "net.pth", scal=2)


def test_a_file_that_fits_no_network(tmp_path):
    torch.save(TinyBackbone(4).state_dict(), tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"fits none of dtir's networks\. It is like no published setting"):
        load_backbone(tmp_path / "net.pth")


def test_ones_own_network_is_recognised(tmp_path, monkeypatch):
    class Wide(nn.Module):
        def __init__(self, width=3):
            super().__init__()
            self.own_layer = nn.Conv2d(3, width, 1)

        @classmethod
        def settings_of(cls, state):
            return {"width": len(state["own_layer.weight"])}

    monkeypatch.setitem(BACKBONES.module_dict, "Wide", Wide)
    torch.save(Wide(5).state_dict(), tmp_path / "net.pth")
    assert load_backbone(tmp_path / "net.pth").own_layer.out_channels == 5


def test_ill_typed_settings_are_config_errors(tmp_path):
    torch.save(PReNet().state_dict(), tmp_path / "net.pth")
    with pytest.raises(ConfigError, match=r"unknown key 'NAFNet\.widht'\. Did you mean 'width'\?"):
        load_backbone("NAFNet", tmp_path / "net.pth", widht=3)
    with pytest.raises(ConfigError, match=r"NAFNet\.width is 'wide'; expected an integer"):
        load_backbone("NAFNet", tmp_path / "net.pth", width="wide")


def test_reading():
    state = dict.fromkeys(("a.0.weight", "a.1.bias", "a.10.x", "a.3.x", "b_0_c", "b_1"), torch.zeros(1))
    assert count(state, "a.") == 2
    assert count(state, "b_") == 2
    assert count(state, "c.") == 0
    assert factor([(48, 127), (96, 255), (192, 510), (384, 1021)]) == 2.66
    assert factor([(48, 96)]) == 2
    with pytest.raises(KeyError):
        factor([(10, 20), (10, 30)])
