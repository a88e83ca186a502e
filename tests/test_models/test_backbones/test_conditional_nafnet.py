import pytest
import torch
from parity_case import ParityCase

from dtir.models.backbones import ConditionalNAFNet, DenoisingNAFNet, LatentConditionalNAFNet

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
def test_latent_network_adds_what_the_first_convolution_gives():
    torch.manual_seed(0)
    options = {"img_channel": 2, "width": 4, "enc_blk_nums": [1], "dec_blk_nums": [1]}
    latent, plain = LatentConditionalNAFNet(**options).eval(), ConditionalNAFNet(**options).eval()
    latent.load_state_dict(plain.state_dict())
    x, cond = torch.rand(2, 1, 2, 6, 8)
    first = latent.intro(torch.cat([x - cond, cond], 1))
    # The last convolution is linear but for its bias, which counts once.
    added = latent.ending(first) - latent.ending.bias.view(1, -1, 1, 1)
    torch.testing.assert_close(latent(x, cond, 3), plain(x, cond, 3) + added, rtol=1e-4, atol=1e-5)
    assert added.abs().max() > 1e-2


@torch.no_grad()
def test_the_picture_is_its_own_condition():
    torch.manual_seed(0)
    model, x = ConditionalNAFNet(width=4, enc_blk_nums=[1], dec_blk_nums=[1]).eval(), torch.rand(1, 3, 5, 6)
    torch.testing.assert_close(model(x), model(x, x, 0))
