import pytest
import torch
from parity_case import ParityCase
from torch import nn
from torch.nn import functional as F

from dtir.models.backbones import MPRNet
from dtir.models.backbones.image.mprnet import UpSample


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@torch.no_grad()
def test_equals_the_published_network(layout, parity_dir):
    case = ParityCase(parity_dir, "mprnet")
    model = case.load(MPRNet(**case.meta["kwargs"]))
    assert sum(p.numel() for p in model.parameters()) == case.meta["params"]
    for (x,), expected, bounds in case.groups():
        for out, y, bound in zip(model(x.to(memory_format=layout)), expected, bounds, strict=True):
            assert (out - y).abs().max() <= bound


@pytest.mark.parametrize(("widths", "millions"), [((40, 20, 16), 3.64), ((80, 48, 32), 15.74), ((96, 48, 32), 20.13)])
def test_published_sizes(widths, millions):
    with torch.device("meta"):
        model = MPRNet(n_feat=widths[0], scale_unetfeats=widths[1], scale_orsnetfeats=widths[2])
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == millions


def test_the_activation_is_shared():
    model = MPRNet(n_feat=8, scale_unetfeats=4, scale_orsnetfeats=4, num_cab=1)
    assert len({id(m) for m in model.modules() if isinstance(m, nn.PReLU)}) == 1
    keys = [key for key, value in model.state_dict().items() if value.shape == (1,)]
    assert len(keys) > 20


def test_projecting_before_enlarging_is_the_same():
    up, x = UpSample(3, 2).double(), torch.randn(2, 5, 4, 6, dtype=torch.float64)
    expected = up.up(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
    torch.testing.assert_close(up(x), expected)
