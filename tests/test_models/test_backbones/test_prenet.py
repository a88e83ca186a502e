import pytest
import torch
from parity_case import ParityCase
from torch import nn

from dtir.models.backbones import PRN, PReNet, PReNet_GRU, PReNet_r, PRN_r
from dtir.models.backbones.image.prenet import ProgressiveNetwork


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize(("name", "network"), [("prenet", PReNet), ("prenet_r", PReNet_r), ("prn", PRN)])
@torch.no_grad()
def test_equals_the_published_network(name, network, layout, parity_dir):
    case = ParityCase(parity_dir, name)
    model = case.load(network(**case.meta["kwargs"]))
    assert sum(p.numel() for p in model.parameters()) == case.meta["params"]
    for (x,), (y,), bound in case.groups():
        last, stages = model(x.to(memory_format=layout))
        assert (last - y).abs().max() <= bound
        assert len(stages) == 6
        assert torch.equal(stages[-1], last)


@torch.no_grad()
def test_gru_is_that_of_the_published_code():
    torch.manual_seed(0)
    model, x = PReNet_GRU(recurrent_iter=1), torch.rand(1, 3, 5, 7)
    features = model.conv0(torch.cat([x, x], 1))
    hidden = torch.zeros_like(features)
    both = torch.cat([features, hidden], 1)
    update, reset = model.conv_z(both), model.conv_b(both)
    proposal = model.conv_g(torch.cat([reset * hidden, features], 1))
    y = (1 - update) * hidden + update * proposal
    for block in (model.res_conv1, model.res_conv2, model.res_conv3, model.res_conv4, model.res_conv5):
        y = nn.functional.relu(block(y) + y)
    torch.testing.assert_close(model(x)[0], model.conv(y))


@torch.no_grad()
def test_one_residual_block_runs_five_times():
    torch.manual_seed(0)
    model, x = PRN_r(recurrent_iter=1), torch.rand(1, 3, 5, 7)
    y = model.conv0(torch.cat([x, x], 1))
    for _ in range(5):
        y = nn.functional.relu(model.res_conv1(y) + y)
    torch.testing.assert_close(model(x)[0], x + model.conv(y))


@pytest.mark.parametrize("network", [PReNet, PReNet_r, PReNet_GRU, PRN, PRN_r])
def test_stages_differ_and_blocks_exist(network):
    torch.manual_seed(0)
    model: ProgressiveNetwork = network(recurrent_iter=3)
    last, stages = model(torch.rand(1, 3, 6, 4))
    assert last.shape == (1, 3, 6, 4)
    assert len(stages) == 3
    assert not torch.equal(stages[0], stages[1])
    assert all(isinstance(model.get_submodule(name), nn.Sequential) for name in model.ordered_blocks())
