import pytest
import torch
from parity_case import ParityCase

from dtir.core.errors import ConfigError
from dtir.models.backbones import DehazeFormer
from dtir.models.backbones.image.dehazeformer import RLN
from dtir.models.backbones.parts.layers import ReflectConv2d
from dtir.models.backbones.zoo import ZOO
from dtir.registry import BACKBONES


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("name", ["dehazeformer_t", "dehazeformer_conv"])
@torch.no_grad()
def test_equals_the_published_network(name, layout, parity_dir):
    case = ParityCase(parity_dir, name)
    model = case.load(DehazeFormer(**case.meta["kwargs"]))
    assert sum(p.numel() for p in model.parameters()) == case.meta["params"]
    for (x,), (y,), bound in case.groups():
        assert (model(x.to(memory_format=layout)) - y).abs().max() <= bound


@pytest.mark.parametrize(
    ("size", "millions"),
    [("t", 0.687), ("s", 1.285), ("b", 2.518), ("d", 4.983), ("w", 9.687), ("m", 4.636), ("l", 25.452)],
)
def test_published_sizes(size, millions):
    with torch.device("meta"):
        model = BACKBONES.build(ZOO[f"dehazeformer_{size}"].backbone)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 3) == millions


def test_norm_gives_back_mean_and_deviation():
    torch.manual_seed(0)
    norm, x = RLN(3), torch.randn(2, 3, 4, 5) * 2 + 1
    out, rescale, rebias = norm(x)
    mean, deviation = x.mean((1, 2, 3)), (x.var((1, 2, 3), correction=0) + 1e-5).sqrt()
    expected = (x - mean.view(2, 1, 1, 1)) / deviation.view(2, 1, 1, 1)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(rescale[:, 0, 0, 0], 1 + norm.meta1.weight[0, 0, 0, 0] * deviation)
    torch.testing.assert_close(rebias[:, 0, 0, 0], norm.meta2.weight[0, 0, 0, 0] * mean)


@pytest.mark.parametrize("side", [1, 2, 7])
def test_mirrored_convolution_takes_any_size(side):
    torch.manual_seed(0)
    conv = ReflectConv2d(2, 2, 5)
    x = torch.full((1, 2, side, side), 0.5)
    constant = conv.bias + 0.5 * conv.weight.sum((1, 2, 3))
    torch.testing.assert_close(conv(x), constant.view(1, 2, 1, 1).expand(1, 2, side, side))


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match=r"depths=\[1\] must have 5 entries"):
        DehazeFormer(depths=[1])
    with pytest.raises(ConfigError, match="must be the same from both ends"):
        DehazeFormer(embed_dims=[24, 48, 96, 48, 48])
