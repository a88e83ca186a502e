import pytest
import torch
from parity_case import ParityCase
from torch import nn

from dtir.core.errors import ConfigError
from dtir.models.backbones import UNetModelSwin
from dtir.models.backbones.parts.adm_blocks import Resample, timestep_embedding
from dtir.models.backbones.parts.resshift_swin import last_row_mask
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


@torch.no_grad()
@pytest.mark.parametrize("name", ["resshift_unet", "resshift_unet_mask"])
def test_equals_the_published_network(name, parity_dir):
    case = ParityCase(parity_dir, name)
    model = case.load(UNetModelSwin(**case.meta["kwargs"]))
    assert sum(p.numel() for p in model.parameters()) == case.meta["params"]
    for (x, t, lq, *mask), (y,), bound in case.groups():
        assert (model(x, t, lq, *mask) - y).abs().max() <= bound
        # As a restorer calls it.
        assert (model.conditional(x, torch.cat([lq, *mask], 1), t) - y).abs().max() <= bound


def test_mask_keeps_the_last_columns_of_the_last_row_of_windows_apart():
    mask = last_row_mask(6, 9, 3, 1, torch.zeros(1))
    assert mask.shape == (6, 9, 9)
    assert not mask[:3].any()
    column = torch.arange(9) % 3
    for window in mask[3:]:
        assert torch.equal(window == -100, (column[:, None] == 2) != (column == 2))


@torch.no_grad()
def test_nothing_missing_is_minus_one():
    model = lively(cond_mask=True)
    x = torch.rand(1, 3, 16, 16)
    known = model(x, 2, x, -torch.ones(1, 1, 16, 16))
    torch.testing.assert_close(model(x, 2, x), known)
    assert (model(x, 2, x, torch.zeros(1, 1, 16, 16)) - known).abs().max() > 1e-4


@torch.no_grad()
def test_condition_of_the_states_size_is_repeated_for_a_network_that_expects_a_larger_one():
    model = lively(lq_size=64, cond_mask=True)
    x, lq, mask = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16), torch.ones(1, 1, 16, 16)
    larger = [picture.repeat_interleave(4, 2).repeat_interleave(4, 3) for picture in (lq, mask)]
    torch.testing.assert_close(model.conditional(x, torch.cat([lq, mask], 1), torch.tensor([2])), model(x, 2, *larger))
    assert model.conditional(x, torch.rand(1, 3, 50, 40), torch.tensor([2])).shape == x.shape


def test_condition_that_does_not_fit_is_named():
    x = torch.rand(1, 3, 16, 16)
    with pytest.raises(ValueError, match=r"\(8, 8\) do not go with states of \(16, 16\); expected \(32, 32\)"):
        lively(lq_size=32)(x, 1, torch.rand(1, 3, 8, 8))
    with pytest.raises(ValueError, match="cond_mask=True"):
        lively()(x, 1, x, x[:, :1])


@torch.no_grad()
def test_windows_and_levels_of_any_sizes():
    # Windows of 3 at sides 12 and 6, and the lowest level's own side of 3: multiples of 12.
    model = lively(image_size=12, lq_size=12, window_size=3, channel_mult=[1, 1, 1], attention_resolutions=[12, 6])
    assert model.traits.size_multiple == 12
    assert model(torch.rand(1, 3, 14, 25)).shape == (1, 3, 14, 25)
    # From 25 down to 12 and 6, and up to 24: no layer where only 25 is named.
    odd = lively(image_size=25, lq_size=25, channel_mult=[1, 1, 1], attention_resolutions=[25], window_size=5)
    names = [name for name, _ in odd.named_modules() if name.endswith("patch_embed")]
    assert names == ["input_blocks.1.1.patch_embed", "middle_block.1.patch_embed"]
    # 5 at the first level and 5 at the third.
    assert odd.traits.size_multiple == 20


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
