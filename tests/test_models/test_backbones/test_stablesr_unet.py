import pytest
import torch
from parity_case import ParityCase
from torch import nn

from dtir.core.errors import ConfigError
from dtir.models.backbones import EncoderUNetModelWT, UNetModelDualcondV2
from dtir.models.backbones.conditional.stablesr_unet import ENCODER
from dtir.models.backbones.zoo import ZOO
from dtir.registry import BACKBONES
from dtir.testing.small_backbones import SMALL

SETTING = {**SMALL["UNetModelDualcondV2"], "model_channels": 32, "num_head_channels": 16}
STRUCTURE = {
    "model_channels": 32,
    "out_channels": 8,
    "num_res_blocks": 1,
    "attention_resolutions": [2],
    "channel_mult": [1, 1],
    "in_channels": 3,
}


def lively(kind=UNetModelDualcondV2, **options) -> nn.Module:
    """A network in which nothing is zero."""
    torch.manual_seed(0)
    model = kind(**{**(SETTING if kind is UNetModelDualcondV2 else STRUCTURE), **options})
    for p in model.parameters():
        if not p.any():
            nn.init.normal_(p, std=0.1)
    return model.eval()


@torch.no_grad()
def test_structure_encoder_equals_the_published_one(parity_dir):
    case = ParityCase(parity_dir, "stablesr_structure_encoder")
    model = case.load(EncoderUNetModelWT(**case.meta["kwargs"]))
    assert sum(p.numel() for p in model.parameters()) == case.meta["params"]
    # One noise floor goes for all outputs of this fixture.
    bound, group = 10 * case.meta["fp64_maxdiff"][0], case.meta["groups"][0]
    found = model(*(case.array(name) for name in group["inputs"]))
    assert [f"y_{side}" for side in found] == group["outputs"]
    for side, features in found.items():
        assert (features - case.array(f"y_{side}")).abs().max() <= bound
    model.load_state_dict(EncoderUNetModelWT(**EncoderUNetModelWT.settings_of(model.state_dict())).state_dict())


@torch.no_grad()
def test_unet_equals_the_published_one(parity_dir):
    case = ParityCase(parity_dir, "stablesr_unet")
    model = case.load(UNetModelDualcondV2(**case.meta["kwargs"]))
    assert sum(p.numel() for p in model.parameters()) == case.meta["params"]
    structure = {name.removeprefix("struct_"): case.array(name) for name in case.arrays if name.startswith("struct_")}
    (((x, t), (y,), bound),) = case.groups()
    assert (model(x, t, case.array("context"), structure) - y).abs().max() <= bound
    told = UNetModelDualcondV2.settings_of(model.state_dict())
    model.load_state_dict(UNetModelDualcondV2(**told).state_dict())
    assert told["semb_channels"] == 32


def test_published_sizes_and_keys():
    with torch.device("meta"):
        unet, encoder = BACKBONES.build(ZOO["stablesr_unet"].backbone), EncoderUNetModelWT(**ENCODER)
    sizes = {name: p.numel() for name, p in unet.named_parameters()}
    # Without what steers it, Stable Diffusion 2.1's own.
    assert sum(size for name, size in sizes.items() if ".spade." not in name) == 865_910_724
    assert sizes["input_blocks.1.0.spade.mlp_shared.0.weight"] == 128 * 256 * 9
    assert sizes["output_blocks.11.1.transformer_blocks.0.attn2.to_k.weight"] == 320 * 1024
    assert len(encoder.fea_tran) == 4
    assert "fea_tran.2.skip_connection.weight" in encoder.state_dict()


@torch.no_grad()
def test_structure_steers_and_its_absence_is_stable_diffusion():
    unet, encoder = lively(), lively(EncoderUNetModelWT)
    x, lq, t = torch.rand(2, 3, 8, 12), torch.rand(2, 3, 8, 12), torch.tensor([1, 500])
    structure = encoder(lq, t)
    assert {side: tuple(features.shape) for side, features in structure.items()} == {
        "12": (2, 8, 8, 12),
        "6": (2, 8, 4, 6),
    }
    plain, steered = unet(x, t), unet(x, t, struct_cond=structure)
    for name, p in unet.named_parameters():
        if ".spade." in name:
            p.mul_(2)
    assert (unet(x, t, struct_cond=structure) - steered).abs().max() > 1e-3
    assert torch.equal(unet(x, t), plain)


@torch.no_grad()
def test_context_and_time_count():
    # With 32 channels, norms undo what the time adds, but not what it multiplies.
    unet, x = lively(use_scale_shift_norm=True), torch.rand(1, 3, 8, 8)
    out = unet(x, 3, torch.zeros(1, 1, 8))
    torch.testing.assert_close(unet(x, 3), out)
    assert (unet(x, 3, torch.rand(1, 5, 8)) - out).abs().max() > 1e-4
    assert (unet(x, 400) - out).abs().max() > 1e-4


def test_structure_of_another_size_is_named():
    unet, encoder = lively(), lively(EncoderUNetModelWT)
    with pytest.raises(ValueError, match=r"no structure features of height and width \(8, 8\) among {'12': \(8, 12\)"):
        unet(torch.rand(1, 3, 8, 8), 1, struct_cond=encoder(torch.rand(1, 3, 8, 12), 1))
    with pytest.raises(ValueError, match=r"latents of \(7, 8\); expected multiples of 2"):
        encoder(torch.rand(1, 3, 7, 8), 1)


@torch.no_grad()
@pytest.mark.parametrize(
    "option",
    [
        {"resblock_updown": True},
        {"conv_resample": False},
        {"use_scale_shift_norm": True},
        {"use_spatial_transformer": False, "context_dim": None},
        {"use_linear_in_transformer": False},
        {"transformer_depth": 2, "context_dim": [8, 8]},
        {"num_res_blocks": [1, 2]},
        {"num_attention_blocks": [1, 0]},
        {"num_head_channels": -1, "num_heads": 2, "legacy": True},
    ],
    ids=str,
)
def test_options_are_networks(option):
    unet = lively(**option)
    assert unet(torch.rand(1, 3, 4, 6), 2, struct_cond=lively(EncoderUNetModelWT)(torch.rand(1, 3, 4, 6), 2)).any()


@torch.no_grad()
def test_attention_to_the_context_alone_and_order_of_heads():
    x, context = torch.rand(1, 3, 8, 8), torch.rand(1, 2, 8)
    keys = lively(disable_self_attentions=[False, True]).state_dict()
    assert keys["input_blocks.3.1.transformer_blocks.0.attn1.to_k.weight"].shape == (32, 8)
    with_self = lively(context_dim=32)
    without = lively(context_dim=32, disable_middle_self_attn=True)
    without.load_state_dict(with_self.state_dict())
    tokens = context.repeat(1, 1, 4)
    assert (without(x, 1, tokens) - with_self(x, 1, tokens)).abs().max() > 1e-4
    attends = {"use_spatial_transformer": False, "context_dim": None}
    legacy, new = lively(**attends), lively(**attends, use_new_attention_order=True)
    new.load_state_dict(legacy.state_dict())
    assert (legacy(x, 1) - new(x, 1)).abs().max() > 1e-5


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"dims": 3}, "dims=3 is not offered; use 2"),
        ({"num_classes": 10}, "num_classes"),
        ({"num_head_channels": 24}, "num_head_channels=24 does not divide the 32 channels"),
        ({"num_head_channels": -1}, "set num_heads"),
        ({"context_dim": None}, "context_dim"),
        ({"num_res_blocks": [1]}, r"num_res_blocks=\[1\]"),
    ],
    ids=str,
)
def test_wrong_settings_are_named(wrong, said):
    with pytest.raises(ConfigError, match=said):
        UNetModelDualcondV2(**{**SETTING, **wrong})
