import pytest
import torch
from torch import nn

from dtir.core.errors import ConfigError
from dtir.diffusion.domain import to_centred
from dtir.models import DiffusionRestorer
from dtir.models.backbones import UNetModel
from dtir.models.backbones.zoo import ZOO
from dtir.registry import BACKBONES, CONDITIONING
from dtir.testing.small_backbones import SMALL

SETTING = {**SMALL["UNetModel"], "num_head_channels": 16}


def lively(**options) -> UNetModel:
    """A network in which nothing is zero."""
    torch.manual_seed(0)
    model = UNetModel(**{**SETTING, **options})
    for p in model.parameters():
        if not p.any():
            nn.init.normal_(p, std=0.1)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "params", "shapes"),
    [
        (
            "adm_imagenet256_uncond",
            552_814_086,
            {
                "input_blocks.0.0.weight": (256, 3, 3, 3),
                "input_blocks.3.0.in_layers.2.weight": (256, 256, 3, 3),
                "input_blocks.10.1.qkv.weight": (1536, 512, 1),
                "middle_block.1.proj_out.bias": (1024,),
                "output_blocks.2.2.out_layers.3.weight": (1024, 1024, 3, 3),
                "out.2.weight": (6, 256, 3, 3),
            },
        ),
        (
            "adm_ffhq256",
            93_563_910,
            {
                "input_blocks.9.1.norm.weight": (512,),
                "output_blocks.1.1.in_layers.2.weight": (512, 512, 3, 3),
                "output_blocks.3.1.qkv.weight": (1536, 512, 1),
                "output_blocks.3.2.emb_layers.1.weight": (1024, 512),
                "out.2.bias": (6,),
            },
        ),
    ],
)
def test_published_sizes_and_keys(name, params, shapes):
    with torch.device("meta"):
        model = BACKBONES.build(ZOO[name].backbone)
    assert sum(p.numel() for p in model.parameters()) == params
    state = model.state_dict()
    assert {key: tuple(state[key].shape) for key in shapes} == shapes
    told = UNetModel.settings_of(state)
    assert told == {key: value for key, value in ZOO[name].settings.items() if key != "image_size"} | {"in_channels": 3}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"resblock_updown": False, "out_channels": 3, "use_scale_shift_norm": False},
        {"num_res_blocks": 2, "channel_mult": [0.5, 1, 2], "model_channels": 64, "attention_resolutions": [1, 4]},
        {"attention_resolutions": [], "channel_mult": [1]},
    ],
)
def test_settings_are_told_from_the_keys(options):
    state = lively(**options).state_dict()
    again = UNetModel(**UNetModel.settings_of(state))
    again.load_state_dict(state)


@torch.no_grad()
def test_noise_comes_before_the_learned_variance():
    learned, x = lively(), torch.rand(2, 3, 10, 7)
    eps, variance = learned(x, torch.tensor([3, 700]))
    assert eps.shape == variance.shape == x.shape
    fixed = lively(out_channels=3)
    fixed.load_state_dict(
        {key: value[:3] if key.startswith("out.2") else value for key, value in learned.state_dict().items()}
    )
    torch.testing.assert_close(fixed(x, torch.tensor([3, 700])), eps)
    torch.testing.assert_close(learned(x[1:], 700)[0], eps[1:], rtol=1e-4, atol=1e-5)
    assert (learned(x[1:], 3)[0] - eps[1:]).abs().max() > 1e-3


@torch.no_grad()
def test_both_orders_of_queries_keys_and_values():
    """The newer order is the older one with the rows of each head moved together."""
    older, newer = lively(), lively(use_new_attention_order=True)
    state, x = older.state_dict(), torch.rand(1, 3, 8, 8)
    newer.load_state_dict(state)
    assert not torch.allclose(newer(x)[0], older(x)[0], atol=1e-4)
    for key, value in state.items():
        if ".qkv." in key:
            state[key] = value.unflatten(0, (4, 3, -1)).transpose(0, 1).flatten(0, 2)
    newer.load_state_dict(state)
    torch.testing.assert_close(newer(x)[0], older(x)[0])


@torch.no_grad()
def test_a_denoiser_is_asked_in_the_published_convention():
    """Centred states, and steps that begin at 0."""
    backbone = lively()
    restorer = DiffusionRestorer({"type": "NoisePrediction", "backbone": backbone, "stride": 20}, ["noisy"])
    picture, t = torch.rand(2, 3, 8, 8), torch.tensor([1, 50])
    expected = backbone(to_centred(picture), torch.tensor([19, 999]))[0]
    torch.testing.assert_close(restorer.predict_eps(picture, t), expected, rtol=1e-4, atol=1e-5)


def test_what_is_not_offered_is_named():
    with pytest.raises(ConfigError, match="num_classes=1000 is not offered"):
        UNetModel(num_classes=1000)
    with pytest.raises(ConfigError, match="out_channels=4 is not offered; use 6"):
        UNetModel(out_channels=4)
    with pytest.raises(ConfigError, match="num_head_channels=48 does not divide the 64"):
        UNetModel(**{**SETTING, "num_head_channels": 48})
    with pytest.raises(ConfigError, match="not TinyBackbone"):
        CONDITIONING.build({"type": "NoisePrediction", "backbone": {"type": "TinyBackbone"}})
    with pytest.raises(ConfigError, match="stride=0"):
        CONDITIONING.build({"type": "NoisePrediction", "backbone": {"type": "UNetModel", **SETTING}, "stride": 0})
