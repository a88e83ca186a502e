import pytest
import torch
from parity_case import ParityCase

from dtir.models.backbones import ConditionalNAFNet, DenoisingNAFNet

CASES = {
    "irsde_conditional_nafnet": (ConditionalNAFNet, lambda net, x, cond, t: net(x, cond, t)),
    "irsde_denoise_nafnet": (DenoisingNAFNet, lambda net, x, t: net(x, t)),
}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_equals_the_published_network(name, layout, parity_dir):
    network, call = CASES[name]
    case = ParityCase(parity_dir, name)
    model = case.load(network(**case.meta["kwargs"]))
    assert sum(p.numel() for p in model.parameters()) == case.meta["params"]
    for (x, *others), (y,), bound in case.groups():
        assert (call(model, x.to(memory_format=layout), *others) - y).abs().max() <= bound


def test_published_size():
    with torch.device("meta"):
        model = ConditionalNAFNet(width=64, enc_blk_nums=[1, 1, 1, 28], middle_blk_num=1, dec_blk_nums=[1, 1, 1, 1])
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == 76.61


@torch.no_grad()
def test_the_picture_is_its_own_condition():
    torch.manual_seed(0)
    model, x = ConditionalNAFNet(width=4, enc_blk_nums=[1], dec_blk_nums=[1]).eval(), torch.rand(1, 3, 5, 6)
    torch.testing.assert_close(model(x), model(x, x, 0))
