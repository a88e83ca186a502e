import pytest
import torch
from parity_case import ParityCase
from torch import nn

from dtir.apis import load_backbone
from dtir.core.errors import ConfigError
from dtir.models.backbones import EncoderUNetModelWT, StableSR, UNetModelDualcondV2
from dtir.models.backbones.conditional.stablesr_encoder import ENCODER
from dtir.models.backbones.parts.clip_text import empty_prompt
from dtir.models.backbones.parts.layers import pad_to_multiple
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


def whole(**options) -> StableSR:
    torch.manual_seed(0)
    network = StableSR(**{**SMALL["StableSR"], **options})
    for p in network.parameters():
        if not p.any():
            nn.init.normal_(p, std=0.1)
    return network.eval()


@torch.no_grad()
def test_the_whole_steers_the_unet_by_the_code():
    network = whole()
    network.context.normal_()
    x, code, t = torch.rand(2, 3, 7, 9), torch.rand(2, 3, 7, 9), torch.tensor([3, 500])
    padded = [pad_to_multiple(part, 2) for part in (x, code)]
    structure = network.structcond_stage_model(padded[1], t)
    expected = network.unet(padded[0], t, network.context.expand(2, -1, -1), structure)[..., :7, :9]
    assert torch.equal(network(x, code, t), expected)
    assert (network(x, 1 - code, t) - expected).abs().max() > 1e-3


def text_tower(width: int, places: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    layers = {
        f"transformer.resblocks.{k}.{name}": torch.randn(shape) / 8
        for k in range(3)
        for name, shape in {
            "ln_1.weight": (width,),
            "ln_1.bias": (width,),
            "attn.in_proj_weight": (3 * width, width),
            "attn.in_proj_bias": (3 * width,),
            "attn.out_proj.weight": (width, width),
            "attn.out_proj.bias": (width,),
            "ln_2.weight": (width,),
            "ln_2.bias": (width,),
            "mlp.c_fc.weight": (4 * width, width),
            "mlp.c_fc.bias": (4 * width,),
            "mlp.c_proj.weight": (width, 4 * width),
            "mlp.c_proj.bias": (width,),
        }.items()
    }
    ends = {"token_embedding.weight": torch.randn(10, width), "positional_embedding": torch.randn(places, width)}
    return {**ends, **layers, "ln_final.weight": torch.rand(width), "ln_final.bias": torch.rand(width)}


@torch.no_grad()
def test_the_empty_text_is_what_torchs_own_layers_make_of_it():
    state, width, places = text_tower(128, 5), 128, 5
    x = (state["token_embedding.weight"][[8, 9, 0, 0, 0]] + state["positional_embedding"])[None]
    mask = nn.Transformer.generate_square_subsequent_mask(places)
    for k in range(2):
        layer = nn.TransformerEncoderLayer(
            width, 2, 4 * width, 0.0, nn.functional.gelu, batch_first=True, norm_first=True
        ).eval()
        names = {
            "self_attn.in_proj_": "attn.in_proj_",
            "self_attn.": "attn.",
            "linear1": "mlp.c_fc",
            "linear2": "mlp.c_proj",
            "norm": "ln_",
        }
        own = {}
        for key in layer.state_dict():
            old = next(old for old in names if key.startswith(old))
            own[key] = state[f"transformer.resblocks.{k}.{key.replace(old, names[old])}"]
        layer.load_state_dict(own)
        x = layer(x, mask)
    expected = nn.functional.layer_norm(x, (width,), state["ln_final.weight"], state["ln_final.bias"])
    torch.testing.assert_close(empty_prompt(state), expected, rtol=1e-4, atol=1e-5)


def test_the_published_checkpoint_is_read_part_by_part(tmp_path):
    network = whole(unet={**SMALL["StableSR"]["unet"], "context_dim": 128}, tokens=5)
    state = {key: value for key, value in network.state_dict().items() if key != "context"}
    tower = {f"cond_stage_model.model.{key}": value for key, value in text_tower(128, 5).items()}
    others = {"first_stage_model.encoder.conv_in.weight": torch.zeros(1), "betas": torch.zeros(3)}
    torch.save({"state_dict": {**state, **tower, **others}, "global_step": 1}, tmp_path / "stablesr_000117.ckpt")
    found = load_backbone(tmp_path / "stablesr_000117.ckpt")
    assert isinstance(found, StableSR)
    assert torch.equal(found.context, empty_prompt(text_tower(128, 5)))
    for key, value in state.items():
        assert torch.equal(found.state_dict()[key], value)
    assert isinstance(load_backbone("StableSR", tmp_path / "stablesr_000117.ckpt"), StableSR)


def test_a_training_starts_from_stable_diffusion(tmp_path):
    unet = {**SMALL["StableSR"]["unet"], "context_dim": 128, "semb_channels": 256}
    own = {
        f"model.diffusion_model.{k}": v
        for k, v in UNetModelDualcondV2(**unet).state_dict().items()
        if ".spade." not in k
    }
    tower = {f"cond_stage_model.model.{key}": value for key, value in text_tower(128, 5).items()}
    torch.save({"state_dict": {**own, **tower}}, tmp_path / "v2-1_512-ema-pruned.ckpt")
    first = load_backbone("StableSR", tmp_path / "v2-1_512-ema-pruned.ckpt").state_dict()
    for key, value in own.items():
        assert torch.equal(first[key], value)
    assert first["structcond_stage_model.input_blocks.0.0.weight"].shape == (256, 3, 3, 3)
