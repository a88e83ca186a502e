import pytest
import torch
from parity_case import ParityCase
from torch import nn

from dtir.core.errors import ConfigError
from dtir.models.backbones import MIRNet

SMALL = {"n_feat": 8, "n_RRG": 1, "n_MSRB": 1}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@torch.no_grad()
def test_equals_the_published_network(layout, parity_dir):
    case = ParityCase(parity_dir, "mirnet")
    model = case.load(MIRNet(**case.meta["kwargs"]))
    assert sum(p.numel() for p in model.parameters()) == case.meta["params"]
    for (x,), (y,), bound in case.groups():
        assert (model(x.to(memory_format=layout)) - y).abs().max() <= bound


def test_published_size():
    with torch.device("meta"):
        model = MIRNet()
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == 31.79


def test_units_of_a_row_and_their_activation_are_shared():
    model = MIRNet(width=3, **SMALL)
    rows = model.body[0].body[0].blocks
    assert all(unit is row[0] for row in rows for unit in row)
    assert len({id(row[0].body[1]) for row in rows}) == 1
    assert sum(isinstance(m, nn.PReLU) for m in rows.modules()) == 1


def test_blur_keeps_a_constant():
    model = MIRNet(**SMALL)
    blur = model.body[0].body[0].down["8_2"].body[0].bot[0]
    torch.testing.assert_close(blur(torch.full((1, 8, 6, 4), 0.7)), torch.full((1, 8, 3, 2), 0.7))


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match="stride=3"):
        MIRNet(stride=3)
