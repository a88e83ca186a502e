import pytest
import torch
from torch import nn

from dtir.models import ConditionedNetwork
from dtir.models.backbones import DTIRUNet, NAFNet
from dtir.models.backbones.parts.layers import LayerNorm2d
from dtir.regularizers.second_order import TwiceConv2d, TwiceLayerNorm2d, twice_differentiable

LEVELS = {"enc_blk_nums": [1, 1], "middle_blk_num": 1, "dec_blk_nums": [1, 1]}


class Watched(nn.Module):
    """A layer after another one, whose output is where the first gradient is taken."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.before, self.layer = nn.Conv2d(3, 4, 1), layer

    def forward(self, x):
        self.features = self.before(x)
        return self.layer(self.features).tanh()


def penalised(network: nn.Module, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """The gradients of a loss with a function of its gradient at the features, and that gradient and function."""
    features = []
    watched = network if isinstance(network, Watched) else network.backbone.encoders[0][0]
    handle = watched.register_forward_hook(lambda module, args, out: features.append(getattr(module, "features", out)))
    loss = network(*inputs).pow(3).sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(loss, features, create_graph=True)
    term = (gradient * gradient.roll(1, 0)).sum() + gradient.sin().sum()
    parameters = list(network.parameters())
    return [gradient, term, *torch.autograd.grad(loss + term, parameters)]


def assert_alike(network: nn.Module, *inputs: torch.Tensor) -> None:
    expected = penalised(network, *inputs)
    with twice_differentiable(network):
        found = penalised(network, *inputs)
    assert all(value.abs().max() > 1e-4 for value in expected)
    for value, other in zip(found, expected, strict=True):
        torch.testing.assert_close(value, other, rtol=1e-9, atol=1e-9 * other.abs().max().item())


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.Conv2d(4, 6, 3, padding=1),
        lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False),
        lambda: nn.Conv2d(4, 8, 2, stride=2, groups=2),
        lambda: nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2),
        lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        lambda: nn.Conv2d(4, 4, 3, padding="same"),
        lambda: LayerNorm2d(4),
    ],
)
def test_a_layer_has_pytorchs_second_derivative(layer):
    torch.manual_seed(0)
    network = Watched(layer()).double()
    for p in network.parameters():
        nn.init.normal_(p)
    assert_alike(network, torch.rand(3, 3, 6, 8, dtype=torch.float64))


@pytest.mark.parametrize("backbone", [NAFNet, DTIRUNet])
def test_a_network_has_pytorchs_second_derivative(backbone):
    torch.manual_seed(0)
    network = ConditionedNetwork(backbone(width=4, **LEVELS), embed_dim=8).double()
    for p in network.parameters():
        nn.init.normal_(p, std=0.3)
    assert_alike(network, torch.rand(3, 3, 8, 8, dtype=torch.float64), torch.tensor([1, 20, 3]))


def test_the_gradient_of_a_weight_may_have_a_graph_too():
    torch.manual_seed(0)
    network = Watched(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=2), LayerNorm2d(4))).double()
    x = torch.rand(2, 3, 5, 5, dtype=torch.float64)

    def second() -> tuple[torch.Tensor, ...]:
        parameters = list(network.parameters())
        gradients = torch.autograd.grad(network(x).pow(3).sum(), parameters, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in gradients), parameters)

    expected = second()
    with twice_differentiable(network):
        found = second()
    for value, other in zip(found, expected, strict=True):
        torch.testing.assert_close(value, other, rtol=1e-9, atol=1e-9)


def test_under_autocast_it_is_what_it_was():
    torch.manual_seed(0)
    network = Watched(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=2), LayerNorm2d(4)))
    x = torch.rand(2, 3, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        expected = penalised(network, x)
        with twice_differentiable(network):
            found = penalised(network, x)
    # bfloat16 has 8 bits.
    for value, other in zip(found, expected, strict=True):
        assert value.dtype == other.dtype
        assert (value - other).norm() < 2**-6 * other.norm()


def test_frozen_layers_get_no_gradient():
    network = Watched(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), LayerNorm2d(4)))
    network.layer.requires_grad_(False)
    with twice_differentiable(network):
        loss = network(torch.rand(2, 3, 6, 6)).pow(3).sum()
        (gradient,) = torch.autograd.grad(loss, network.features, create_graph=True)
        (loss + gradient.square().sum()).backward()
    assert network.before.weight.grad.any()
    assert all(p.grad is None for p in network.layer.parameters())


def test_the_network_is_left_as_it_was():
    network = NAFNet(width=4, **LEVELS)
    kinds, keys = [type(module) for module in network.modules()], list(network.state_dict())
    with twice_differentiable(network):
        inside = {type(module) for module in network.modules()}
        assert {TwiceConv2d, TwiceLayerNorm2d} <= inside
        assert not {nn.Conv2d, LayerNorm2d} & inside
        assert list(network.state_dict()) == keys
    assert [type(module) for module in network.modules()] == kinds
