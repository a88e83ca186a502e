import pytest
import torch
from torch import nn

from dtir.core.errors import ConfigError
from dtir.models.backbones import UNetModelSwin
from dtir.models.backbones.conditional.resshift_unet import Resample, timestep_embedding
from dtir.models.backbones.zoo import ZOO
from dtir.registry import BACKBONES
from dtir.testing.small_backbones import SMALL

SETTING = SMALL["UNetModelSwin"]


def lively(**options) -> UNetModelSwin:
    """A network in which nothing is zero."""
    torch.manual_seed(0)
    model = UNetModelSwin(**{**SETTING, **options})
    for p in model.parameters():
        if not p.any():
            nn.init.normal_(p, std=0.1)
    return model.eval()


def test_published_size_and_keys():
    with torch.device("meta"):
        model = BACKBONES.build(ZOO["resshift"].backbone)
    assert sum(p.numel() for p in model.parameters()) == 118_593_583
    keys = model.state_dict()
    assert keys["input_blocks.1.1.blocks.1.attn_mask"].shape == (64, 64, 64)
    assert keys["input_blocks.3.0.op.weight"].shape == (160, 160, 3, 3)
    assert keys["output_blocks.2.1.conv.weight"].shape == (640, 640, 3, 3)
    assert keys["middle_block.1.patch_embed.proj.weight"].shape == (192, 640, 1, 1)
    # At the lowest level one window is the whole picture, so that nothing is shifted.
    assert "middle_block.1.blocks.1.attn_mask" not in keys


@torch.no_grad()
def test_time_and_condition_count():
    model, x = lively(), torch.rand(2, 3, 16, 16)
    out = model(x, torch.tensor([1, 3]), x)
    torch.testing.assert_close(model(x[1:], 3, x[1:]), out[1:], rtol=1e-4, atol=1e-5)
    assert (model(x, torch.tensor([1, 900]), x)[1] - out[1]).abs().max() > 1e-4
    assert (model(x, torch.tensor([1, 3]), 1 - x)[1] - out[1]).abs().max() > 1e-4


@torch.no_grad()
def test_larger_condition_with_mask():
    model = lively(lq_size=64, cond_mask=True)
    x, lq, mask = torch.rand(1, 3, 11, 7), torch.rand(1, 3, 44, 28), torch.ones(1, 1, 44, 28)
    out = model(x, 2, lq, mask)
    assert out.shape == x.shape
    assert not torch.allclose(out, model(x, 2, lq), atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(
    "option", [{"resblock_updown": True}, {"patch_norm": True}, {"use_scale_shift_norm": False}], ids=str
)
def test_options_change_the_network(option):
    shapes = {key: value.shape for key, value in lively(**option).state_dict().items()}
    assert shapes != {key: value.shape for key, value in lively().state_dict().items()}
    assert lively(**option)(torch.rand(1, 3, 16, 16)).isfinite().all()


@torch.no_grad()
def test_sampling_without_convolution_is_a_mean_and_a_repetition():
    x = torch.rand(1, 2, 4, 4)
    torch.testing.assert_close(Resample(2, 2, up=False, use_conv=False)(x)[0, 0, 0, 0], x[0, 0, :2, :2].mean())
    assert torch.equal(Resample(2, 2, up=True, use_conv=False)(x)[..., 1::2, 1::2], x)


def test_embedding_is_cosines_then_sines():
    found = timestep_embedding(torch.tensor([3]), 4)[0]
    expected = torch.tensor([3.0, 0.03]).cos().tolist() + torch.tensor([3.0, 0.03]).sin().tolist()
    torch.testing.assert_close(found, torch.tensor(expected))


@pytest.mark.parametrize("wrong", [{"dims": 3}, {"cond_lq": False}, {"lq_size": 24}, {"num_res_blocks": [1]}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        UNetModelSwin(**{**SETTING, **wrong})


def test_states_that_are_no_pictures_need_a_condition():
    with pytest.raises(ValueError, match="in_channels=8"):
        UNetModelSwin(**{**SETTING, "in_channels": 8})(torch.rand(1, 8, 16, 16))
