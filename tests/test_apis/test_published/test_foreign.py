"""Bare weights restore: dtir's own networks by their keys, others through spandrel."""

import sys

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dtir.apis import RestorationInferencer
from dtir.apis.models.build import load_restorer
from dtir.apis.published.whole import is_autoencoder
from dtir.core.errors import CheckpointError
from dtir.models.backbones import LatentUNet, NAFNet
from dtir.models.building import build_backbone
from dtir.models.codecs.autoencoders import KL_F8
from dtir.registry import CODECS
from dtir.testing.small_backbones import SMALL


def picture(height: int = 21, width: int = 30) -> np.ndarray:
    return np.random.default_rng(0).random((height, width, 3), dtype=np.float32)


def as_tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def foreign(name: str) -> torch.nn.Module:
    """A small network of spandrel's with random weights."""
    from spandrel.architectures import ESRGAN, PLKSR, RCAN, SAFMN, SPAN, Compact, DnCNN, DRUNet, SCUNet, SwinIR

    torch.manual_seed(0)
    return {
        "Compact": lambda: Compact.Compact(num_feat=8, num_conv=2, upscale=2),
        "DnCNN": lambda: DnCNN.DnCNN(in_nc=3, out_nc=3, nc=8, nb=17, act_mode="R"),
        "DnCNN of grey": lambda: DnCNN.DnCNN(in_nc=1, out_nc=1, nc=8, nb=17, act_mode="R"),
        "ESRGAN": lambda: ESRGAN.ESRGAN(num_filters=8, num_blocks=1, scale=4),
        "SAFMN": lambda: SAFMN.SAFMN(dim=8, n_blocks=1, upscaling_factor=2),
        "SPAN": lambda: SPAN.SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2),
        "PLKSR": lambda: PLKSR.PLKSR(dim=8, n_blocks=1, upscaling_factor=2),
        # They make a map of the noise's level for one picture.
        "DRUNet of grey": lambda: DRUNet.DRUNet(in_nc=2, out_nc=1, nc=[8] * 4, nb=2),
        "RCAN": lambda: RCAN.RCAN(scale=3, n_resgroups=1, n_resblocks=1, n_feats=16, reduction=4),
        # spandrel takes heads of 32 channels for granted, of which half are left here.
        "SCUNet of 16": lambda: SCUNet.SCUNet(config=[1] * 7, dim=16),
        "SwinIR": lambda: SwinIR.SwinIR(
            upscale=4, window_size=8, embed_dim=12, depths=[2], num_heads=[2], mlp_ratio=2, upsampler="pixelshuffle"
        ),
    }[name]().eval()


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("Compact", 2),
        ("DnCNN", 1),
        ("DnCNN of grey", 1),
        ("ESRGAN", 4),
        ("SAFMN", 2),
        ("SPAN", 2),
        ("PLKSR", 2),
        ("DRUNet of grey", 1),
        ("RCAN", 3),
        ("SwinIR", 4),
    ],
)
def test_networks_of_others(name, scale, tmp_path):
    pytest.importorskip("spandrel", reason="spandrel is not installed; pip install -e .[spandrel]")
    network = foreign(name)
    torch.save({"params": network.state_dict()}, tmp_path / "net.pth")
    inferencer = RestorationInferencer(tmp_path / "net.pth", device="cpu", tile=None)
    found = inferencer.restore_array(picture())
    assert found.shape == (21 * scale, 30 * scale, 3)
    lq = as_tensor(picture())
    with torch.inference_mode():
        if name == "DnCNN of grey":
            expected = torch.cat([network(lq[:, k : k + 1]) for k in range(3)], 1)
        elif name in ("Compact", "DnCNN", "ESRGAN"):
            expected = network(lq)
        else:
            expected = None
    if expected is not None:
        np.testing.assert_allclose(found, expected[0].permute(1, 2, 0).clamp(0, 1), atol=1e-5)
    assert "weights" in inferencer.restorer.backbone.traits.licence


def test_a_file_of_twice_the_size_keeps_its_transparency(tmp_path):
    pytest.importorskip("spandrel", reason="spandrel is not installed; pip install -e .[spandrel]")
    save_file(foreign("Compact").state_dict(), tmp_path / "net.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (80, 90, 4), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    inferencer = RestorationInferencer(tmp_path / "net.safetensors", device="cpu", tile=64, overlap=16)
    inferencer.restore_file(tmp_path / "a.png", tmp_path / "out.png")
    assert cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED).shape == (160, 180, 4)
    half = inferencer(picture(), strength=0.5)
    whole = inferencer(picture())
    between = cv2.resize(picture(), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC) / 2 + whole / 2
    assert np.abs(half - between)[2:-2, 2:-2].mean() < 0.05


def test_a_network_that_changes_its_input_leaves_the_picture(tmp_path):
    pytest.importorskip("spandrel", reason="spandrel is not installed; pip install -e .[spandrel]")
    torch.save(foreign("RCAN").state_dict(), tmp_path / "net.pth")
    network, lq = load_restorer(tmp_path / "net.pth").backbone, as_tensor(picture())
    with torch.inference_mode():
        network(lq)
    assert torch.equal(lq, as_tensor(picture()))


def test_a_network_whose_settings_are_not_found_is_an_error(tmp_path):
    pytest.importorskip("spandrel", reason="spandrel is not installed; pip install -e .[spandrel]")
    torch.save(foreign("SCUNet of 16").state_dict(), tmp_path / "net.pth")
    with pytest.raises(
        CheckpointError, match=r"net\.pth' holds weights of SCUNet, and spandrel does not find settings"
    ):
        load_restorer(tmp_path / "net.pth")


def test_bare_weights_of_our_own_networks(tmp_path):
    torch.manual_seed(0)
    network = NAFNet(width=4, enc_blk_nums=[1], middle_blk_num=1, dec_blk_nums=[1]).eval()
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.2)
    torch.save(
        {"state_dict": {f"module.{key}": value for key, value in network.state_dict().items()}}, tmp_path / "a.pth"
    )
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    with torch.inference_mode():
        expected = network(as_tensor(picture()))[0].permute(1, 2, 0).clamp(0, 1)
    for name in ("a.pth", "a.safetensors"):
        found = RestorationInferencer(tmp_path / name, device="cpu").restore_array(picture())
        np.testing.assert_allclose(found, expected, atol=1e-5)


LEVELS = {"enc_blk_nums": [1, 1], "middle_blk_num": 1, "dec_blk_nums": [1, 1]}


@pytest.mark.parametrize(
    ("config", "converted_as"),
    [
        ({"type": "ConditionalNAFNet", "width": 8, **LEVELS}, "ConditionalNAFNet"),
        ({"type": "DenoisingNAFNet", "width": 8, **LEVELS}, "DenoisingNAFNet"),
        ({"type": "EEDTPRestorationNet", "width": 8, **LEVELS, "adapters": {"num_experts": 2}}, "EEDTPRestorationNet"),
        ({"type": "UNetModelDualcondV2", **SMALL["UNetModelDualcondV2"]}, "StableSR"),
    ],
)
def test_a_step_of_a_diffusion_restores_nothing_by_itself(config, converted_as, tmp_path):
    torch.save({"params": build_backbone(config).state_dict()}, tmp_path / "net.pth")
    with pytest.raises(
        CheckpointError, match=rf"told a time step.*from_published\.py {converted_as} .*--config CONFIG"
    ):
        load_restorer(tmp_path / "net.pth")


def test_an_autoencoder_belongs_to_a_config(tmp_path):
    network = LatentUNet(ch=8, ch_mult=[1, 2], embed_dim=3)
    torch.save(network.state_dict(), tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"an autoencoder.*model\.codec\.weights"):
        load_restorer(tmp_path / "net.pth")
    pytest.importorskip("spandrel", reason="spandrel is not installed; pip install -e .[spandrel]")
    ddconfig = {"ch": 32, "ch_mult": [1, 2], "num_res_blocks": 1, "resolution": 32}
    codec = CODECS.build({"type": "AutoencoderKL", "ddconfig": {**KL_F8["ddconfig"], **ddconfig}, "embed_dim": 4})
    torch.save({"state_dict": codec.state_dict()}, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"an autoencoder.*model\.codec\.weights"):
        load_restorer(tmp_path / "net.pth")


def test_a_whole_model_is_not_called_an_autoencoder():
    own = {key: torch.zeros(1) for key in ("encoder.conv_in.weight", "decoder.conv_out.weight")}
    rest = {f"model.diffusion_model.{number}.weight": torch.zeros(1) for number in range(3)}
    assert is_autoencoder({"state_dict": own})
    assert not is_autoencoder({"state_dict": {f"first_stage_model.{key}": value for key, value in own.items()} | rest})


def test_weights_that_nobody_knows(tmp_path, monkeypatch):
    torch.save({"a": torch.zeros(2)}, tmp_path / "net.pth")
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(CheckpointError, match=r"none of dtir's networks.*pip install 'dtir\[spandrel\]'"):
        load_restorer(tmp_path / "net.pth")
    monkeypatch.undo()
    pytest.importorskip("spandrel", reason="spandrel is not installed; pip install -e .[spandrel]")
    with pytest.raises(CheckpointError, match="no network that dtir or spandrel knows"):
        load_restorer(tmp_path / "net.pth")


def test_weights_that_restore_no_picture(tmp_path):
    network = NAFNet(img_channel=1, width=4, enc_blk_nums=[1], middle_blk_num=1, dec_blk_nums=[1])
    torch.save(network.state_dict(), tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="holds weights of NAFNet, which restores no picture"):
        load_restorer(tmp_path / "net.pth")
