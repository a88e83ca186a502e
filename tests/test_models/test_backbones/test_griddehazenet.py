import pytest
import torch
from parity_case import ParityCase

from dtir.core.errors import ConfigError
from dtir.models.backbones import GateHazeNet
from dtir.registry import BACKBONES


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@torch.no_grad()
def test_equals_the_published_network(layout, parity_dir):
    case = ParityCase(parity_dir, "griddehazenet")
    model = case.load(GateHazeNet(**case.meta["kwargs"]))
    assert sum(p.numel() for p in model.parameters()) == case.meta["params"]
    for (x,), (y,), bound in case.groups():
        assert (model(x.to(memory_format=layout)) - y).abs().max() <= bound


def test_published_size():
    with torch.device("meta"):
        model = BACKBONES.build({"type": "GridDehazeNet"})
    assert sum(p.numel() for p in model.parameters()) == 958_051


def test_weights_of_the_joins_may_be_fixed():
    assert not GateHazeNet(depth_rate=4, growth_rate=4, attention=False).coefficient.requires_grad


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match="stride=3"):
        GateHazeNet(stride=3)
