import pytest
import torch
from parity_case import ParityCase
from torch import nn

from dtir.core.errors import ConfigError
from dtir.models.backbones import Restormer
from dtir.models.backbones.image.restormer import Attention, LayerNorm

SMALL = {"dim": 8, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("name", ["restormer_withbias", "restormer_biasfree", "restormer_dualpixel"])
@torch.no_grad()
def test_equals_the_published_network(name, layout, parity_dir):
    case = ParityCase(parity_dir, name)
    model = case.load(Restormer(**case.meta["kwargs"]))
    assert sum(p.numel() for p in model.parameters()) == case.meta["params"]
    for (x,), (y,), bound in case.groups():
        assert (model(x.to(memory_format=layout)) - y).abs().max() <= bound


@pytest.mark.parametrize(
    ("settings", "millions"),
    [({}, 26.127), ({"LayerNorm_type": "BiasFree"}, 26.112), ({"inp_channels": 6, "dual_pixel_task": True}, 26.133)],
)
def test_published_sizes(settings, millions):
    with torch.device("meta"):
        model = Restormer(**settings)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 3) == millions


@pytest.mark.parametrize("bias", [False, True])
def test_attention_is_that_of_the_paper(bias):
    torch.manual_seed(0)
    attention = Attention(6, 2, bias).double()
    nn.init.uniform_(attention.temperature, 1, 9)
    x = torch.randn(2, 6, 3, 5, dtype=torch.float64)
    q, k, v = (part.reshape(2, 2, 3, 15) for part in attention.qkv_dwconv(attention.qkv(x)).chunk(3, dim=1))
    q, k = nn.functional.normalize(q, dim=-1), nn.functional.normalize(k, dim=-1)
    weights = (q @ k.transpose(-2, -1) * attention.temperature).softmax(-1)
    expected = attention.project_out((weights @ v).reshape(2, 6, 3, 5))
    torch.testing.assert_close(attention(x), expected)
    assert torch.autograd.gradcheck(attention, x[:1, :, :2, :2].clone().requires_grad_())


def test_attention_of_a_silent_channel_is_finite():
    attention = Attention(4, 1, bias=False)
    out = attention(torch.zeros(1, 4, 4, 4, requires_grad=True))
    out.sum().backward()
    assert out.isfinite().all()
    assert attention.qkv.weight.grad.isfinite().all()


def test_bias_free_norm_subtracts_nothing():
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    norm = LayerNorm(5, "BiasFree").double()
    expected = x / (x.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(norm(x), expected)
    torch.testing.assert_close(norm(x + 0)[0], norm(x[:1])[0])


def test_blocks_are_ordered_and_exist():
    model = Restormer(**SMALL)
    names = model.ordered_blocks()
    assert names[0] == "encoder_level1.0"
    assert names[-1] == "refinement.0"
    assert {type(model.get_submodule(name)).__name__ for name in names} == {"TransformerBlock"}


def test_channels_last_stays_channels_last():
    model, strides = Restormer(**SMALL), []
    for name in model.ordered_blocks():
        model.get_submodule(name).register_forward_hook(lambda _, args, out: strides.append(out.stride(1)))
    model(torch.rand(1, 3, 16, 16))
    assert strides == [1] * len(strides)


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match="LayerNorm_type='None' is not known; use one of WithBias, BiasFree"):
        Restormer(LayerNorm_type="None", **SMALL)
    with pytest.raises(ConfigError, match=r"heads=\[1, 2\] must have 4 entries"):
        Restormer(heads=[1, 2])
