import pytest
import torch
from parity_case import ParityCase

from dtir.core.errors import ConfigError
from dtir.models import OwnTimeNetwork
from dtir.models.backbones import EEDTPRestorationNet, NAFNet
from dtir.models.backbones.parts.pictures import restored_picture

SMALL = {"width": 4, "enc_blk_nums": [1, 1], "middle_blk_num": 1, "dec_blk_nums": [1, 1]}


def small(**options) -> EEDTPRestorationNet:
    torch.manual_seed(0)
    return EEDTPRestorationNet(**SMALL, **options).eval()


@pytest.mark.parametrize("name", ["eedtp_net", "eedtp_net_moe"])
@torch.no_grad()
def test_equals_the_released_network(name, parity_dir):
    case = ParityCase(parity_dir, name)
    model = case.load(EEDTPRestorationNet(**case.meta["kwargs"]))
    assert sum(p.numel() for p in model.parameters()) == case.meta["params"]
    for (x, t), (y,), bound in case.groups():
        assert (model(x, t) - y).abs().max() <= bound
        assert (model(x, time=t.expand(len(x))) - y).abs().max() <= bound


@pytest.mark.parametrize(
    ("adapters", "millions"), [(None, 68.28), ({"num_experts": 10, "T": 50, "reduction": 4}, 74.76)]
)
def test_released_sizes(adapters, millions):
    with torch.device("meta"):
        model = EEDTPRestorationNet(
            img_channel=3,
            width=48,
            middle_blk_num=6,
            enc_blk_nums=[2, 2, 4, 28],
            dec_blk_nums=[2, 2, 2, 2],
            adapters=adapters,
        )
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == millions


@torch.no_grad()
def test_adapters_change_nothing_at_first():
    plain, adapted = small(), small(adapters={"num_experts": 3})
    adapted.load_state_dict(plain.state_dict(), strict=False)
    x, t = torch.rand(2, 3, 8, 12), torch.tensor([3, 50])
    assert torch.equal(adapted(x, t), plain(x, t))


@torch.no_grad()
def test_its_output_is_what_is_taken_from_the_picture():
    net, x = small(), torch.rand(2, 3, 7, 9)
    torch.nn.init.normal_(net.ending.bias)
    assert torch.equal(restored_picture(net, x), x - net(x, 0))
    t = torch.tensor([4, 38])
    assert torch.equal(OwnTimeNetwork(net)(x, t), x - net(x, t))


def test_a_network_without_time_is_refused():
    with pytest.raises(ConfigError, match="NAFNet use TimeConditioning"):
        OwnTimeNetwork(NAFNet(width=4, enc_blk_nums=[1], dec_blk_nums=[1]))
