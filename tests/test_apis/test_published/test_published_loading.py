import argparse
import logging

import numpy as np
import pytest
import torch

from dtir.apis import RestorationInferencer, load_backbone
from dtir.apis.models.build import load_restorer
from dtir.apis.published.recognition import likeliest_networks
from dtir.core.errors import CheckpointError, ConfigError
from dtir.models.backbones import LatentConditionalNAFNet, LatentUNet, NAFNet
from dtir.testing import TinyBackbone
from tools.model_converters.from_published import convert

SMALL = {"width": 4, "enc_blk_nums": [1], "middle_blk_num": 1, "dec_blk_nums": [1]}


@pytest.fixture
def state():
    torch.manual_seed(0)
    return NAFNet(**SMALL).state_dict()


def prefixed(state, prefix):
    return {prefix + key: value for key, value in state.items()}


LAYOUTS = {
    "bare": lambda s: s,
    "data_parallel": lambda s: prefixed(s, "module."),
    "params": lambda s: {"params": s},
    "state_dict": lambda s: {"state_dict": prefixed(s, "module."), "epoch": 3, "optimizer": {"state": {}}},
    "lightning": lambda s: {"state_dict": prefixed(s, "net."), "hyper_parameters": {"lr": 1e-4}},
    "namespace": lambda s: {"state_dict": s, "opts": argparse.Namespace(batch_size=4)},
    "ema_pytorch": lambda s: {
        "step": 7,
        "ema": {
            "initted": torch.tensor(True),
            "ema_model.betas": torch.zeros(3),
            **prefixed({k: v + 1 for k, v in s.items()}, "online_model.model."),
            **prefixed(s, "ema_model.model."),
        },
    },
    "averaged_and_not": lambda s: {"params": {k: v + 1 for k, v in s.items()}, "params_ema": s},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, state, tmp_path):
    torch.save(LAYOUTS[layout](state), tmp_path / "net.pth")
    network = load_backbone("NAFNet", tmp_path / "net.pth", **SMALL)
    assert not network.training
    for key, value in network.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_the_setting_of_a_class_is_found_by_the_file(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    model = NAFNet(width=32, enc_blk_nums=[1, 1, 1, 28], middle_blk_num=1, dec_blk_nums=[1, 1, 1, 1])
    torch.save({"params": model.state_dict()}, tmp_path / "net.pth")
    assert len(load_backbone("NAFNet", tmp_path / "net.pth").encoders[3]) == 28
    assert "NAFNet from params" in caplog.text
    assert load_backbone("nafnet_gopro_w32", tmp_path / "net.pth").intro.out_channels == 32
    with pytest.raises(
        CheckpointError, match=r"NAFNet\(width=64.*of another shape.*likeliest 'nafnet_gopro_w32' \(100%"
    ):
        load_backbone("nafnet_gopro_w64", tmp_path / "net.pth")


def test_keys_that_differ_are_named(state, tmp_path):
    del state["intro.weight"]
    state["head.weight"] = torch.zeros(3)
    torch.save({"params": state}, tmp_path / "net.pth")
    with pytest.raises(
        CheckpointError, match=r"in params; 1 missing, such as intro\.weight; 1 unexpected, such as head\.weight"
    ):
        load_backbone("NAFNet", tmp_path / "net.pth", **SMALL)


def test_unlike_anything(tmp_path):
    torch.save(TinyBackbone(4).state_dict(), tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="like no published setting known here"):
        load_backbone("NAFNet", tmp_path / "net.pth", **SMALL)
    assert likeliest_networks({"a": torch.zeros(1)}) == []


def test_unknown_names_and_unsafe_files(state, tmp_path):
    with pytest.raises(ConfigError, match=r"'NAFnet' is neither .* Did you mean 'NAFNet'"):
        load_backbone("NAFnet", tmp_path / "net.pth")
    torch.save({"params": state, "trainer": CheckpointError("x")}, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="could run code"):
        load_backbone("NAFNet", tmp_path / "net.pth", **SMALL)


def test_converted_checkpoint_restores(tmp_path):
    torch.manual_seed(0)
    model = NAFNet(width=32, enc_blk_nums=[1, 1, 1, 28], middle_blk_num=1, dec_blk_nums=[1, 1, 1, 1]).eval()
    torch.save({"params": model.state_dict()}, tmp_path / "net.pth")
    convert("NAFNet", str(tmp_path / "net.pth"), str(tmp_path / "out.pth"), ["rainy", "hazy"], None)
    inferencer = RestorationInferencer(tmp_path / "out.pth", device="cpu")
    assert inferencer.tasks == ("rainy", "hazy")
    picture = np.random.default_rng(0).random((24, 33, 3), dtype=np.float32)
    with torch.inference_mode():
        expected = model(torch.from_numpy(picture).permute(2, 0, 1)[None])[0].permute(1, 2, 0).clamp(0, 1)
    np.testing.assert_allclose(inferencer.restore_array(picture, task="rainy"), expected, atol=1e-5)


def test_converted_into_the_model_of_a_config(tmp_path):
    config = "configs/dtir/nafnet_10task.py"
    source, target = str(tmp_path / "net.pth"), str(tmp_path / "out.pth")
    model = NAFNet(width=32, enc_blk_nums=[2, 2, 4, 8], middle_blk_num=12, dec_blk_nums=[2, 2, 2, 2])
    torch.save(model.state_dict(), source)
    restorer = convert("NAFNet", source, target, [], config)
    assert type(restorer).__name__ == "DiffusionRestorer"
    loaded = load_restorer(target)
    assert torch.equal(loaded.network.backbone.ending.weight, model.ending.weight)
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(loaded.restore(x, torch.tensor([7])), model(x))
    with pytest.raises(CheckpointError, match="likeliest 'nafnet_sidd_w32'"):
        convert("nafnet_gopro_w32", source, target, [], config)


LATENT = """
model = dict(
    type="BridgeRestorer",
    tasks=["hazy"],
    backbone=dict(type="LatentConditionalNAFNet", img_channel=3, width=4, enc_blk_nums=[1], dec_blk_nums=[1]),
    codec=dict(type="LatentUNet", ch=8, ch_mult=[1, 2], embed_dim=3, weights="nowhere.pth"),
    scheduler=dict(type="IRSDE", max_sigma=50, T=2),
)
"""


def test_network_and_codec_become_one_checkpoint(tmp_path):
    torch.manual_seed(0)
    network = LatentConditionalNAFNet(img_channel=3, width=4, enc_blk_nums=[1], dec_blk_nums=[1])
    codec = LatentUNet(ch=8, ch_mult=[1, 2], embed_dim=3)
    for name, part in (("net", network), ("codec", codec)):
        torch.save(part.state_dict(), tmp_path / f"{name}.pth")
    (tmp_path / "config.py").write_text(LATENT)
    net, target, config, weights = (str(tmp_path / n) for n in ("net.pth", "out.pth", "config.py", "codec.pth"))
    with pytest.raises(CheckpointError, match=r"nowhere\.pth"):
        convert("LatentConditionalNAFNet", net, target, [], config)
    convert("LatentConditionalNAFNet", net, target, [], config, weights)
    found = load_restorer(target)
    assert torch.equal(found.codec.network.latent_conv.weight, codec.latent_conv.weight)
    assert torch.equal(found.backbone.ending.weight, network.ending.weight)
    with pytest.raises(ConfigError, match="there is no codec that takes"):
        convert("LatentConditionalNAFNet", net, target, ["hazy"], None, weights)
