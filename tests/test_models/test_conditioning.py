import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from dtir.core.errors import ConfigError
from dtir.models import ConditionedNetwork
from dtir.models.backbones import NAFNet
from dtir.testing import TinyBackbone


class TokenBackbone(nn.Module):
    """A backbone whose blocks see tokens (B, N, C) and take a second argument."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 6)

        def forward(self, tokens, size):
            return tokens + self.fc(tokens)

    def __init__(self):
        super().__init__()
        self.inp, self.out = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 3, 1)
        self.blocks = nn.ModuleList([self.Block(), self.Block()])

    def ordered_blocks(self):
        return ["blocks.0", "blocks.1"]

    def forward(self, x):
        tokens = self.inp(x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens, x.shape[-2:])
        return x + self.out(tokens.transpose(1, 2).unflatten(2, x.shape[-2:]))


def backbones():
    small = {"width": 8, "enc_blk_nums": [1], "middle_blk_num": 1, "dec_blk_nums": [1]}
    return {"tiny": TinyBackbone, "tokens": TokenBackbone, "nafnet": lambda: NAFNet(**small)}


@pytest.fixture(params=backbones())
def backbone(request):
    torch.manual_seed(0)
    model = backbones()[request.param]()
    for p in model.parameters():
        nn.init.normal_(p, std=0.2)
    return model


X, T = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 37])


def conditioned(backbone, **options) -> ConditionedNetwork:
    """A network whose modulation is not the identity."""
    network = ConditionedNetwork(backbone, embed_dim=8, **options)
    nn.init.normal_(network.to_modulation.weight, std=0.2)
    return network


def test_identity_at_initialisation_and_published_keys(backbone):
    plain = copy.deepcopy(backbone)
    network = ConditionedNetwork(backbone, embed_dim=8)
    assert torch.equal(network(X, T), plain(X))
    state = network.state_dict()
    own = {key.removeprefix("backbone."): value for key, value in state.items() if key.startswith("backbone.")}
    plain.load_state_dict(own, strict=True)


def test_time_changes_the_output_sample_by_sample(backbone):
    network = conditioned(backbone)
    both = network(X, T)
    torch.testing.assert_close(both[1:], network(X[1:], T[1:]))
    assert (network(X, torch.tensor([5, 37]))[0] - both[0]).abs().max() > 1e-4
    assert (network(X, torch.tensor([0.0, 37.5]))[1] - both[1]).abs().max() > 1e-6


def test_modulation_is_scale_and_shift_at_the_entry():
    backbone = TinyBackbone()
    network = ConditionedNetwork(copy.deepcopy(backbone), embed_dim=8)
    with torch.no_grad():
        network.to_modulation.bias[:8] = 0.5
        network.to_modulation.bias[16:24] = -0.25
    y = backbone.head(X)
    y = y + backbone.blocks[0](torch.relu(y) * 1.5 - 0.25)
    y = y + backbone.blocks[1](torch.relu(y))
    torch.testing.assert_close(network(X, T), X + backbone.tail(y))


def test_gradients_reach_the_modulation():
    network = conditioned(TinyBackbone()).double()
    x, t = X.double(), T.double()
    network(x, t).square().sum().backward()
    weight, step = network.to_modulation.weight, 1e-6
    with torch.no_grad():
        weight[3, 2] += step
        up = network(x, t).square().sum()
        weight[3, 2] -= 2 * step
        down = network(x, t).square().sum()
    torch.testing.assert_close(weight.grad[3, 2], (up - down) / (2 * step), rtol=1e-5, atol=1e-6)


def test_copy_uses_its_own_modulation(backbone):
    network = conditioned(backbone)
    before = network(X, T)
    twin = copy.deepcopy(network)
    nn.init.zeros_(twin.to_modulation.weight)
    assert (twin(X, T) - before).abs().max() > 1e-4
    assert torch.equal(network(X, T), before)


def test_two_forwards_before_backward():
    network = conditioned(TinyBackbone())
    separate = torch.autograd.grad(network(X, T).sum() + network(X, T + 1).sum(), network.to_modulation.weight)
    first, second = network(X, T), network(X, T + 1)
    together = torch.autograd.grad(first.sum() + second.sum(), network.to_modulation.weight)
    torch.testing.assert_close(separate, together)


def test_functional_call_and_checkpointing():
    network = conditioned(TinyBackbone())
    expected = network(X, T)
    doubled = {name: 2 * p for name, p in network.named_parameters()}
    changed = torch.func.functional_call(network, doubled, (X, T))
    assert (changed - expected).abs().max() > 1e-3
    torch.testing.assert_close(network(X, T), expected)
    loss = checkpoint(network, X, T, use_reentrant=False).sum()
    got = torch.autograd.grad(loss, list(network.parameters()))
    want = torch.autograd.grad(network(X, T).sum(), list(network.parameters()))
    torch.testing.assert_close(got, want)


def test_compile_and_bf16():
    network = conditioned(TinyBackbone())
    expected = network(X, T)
    torch.testing.assert_close(torch.compile(network, backend="aot_eager")(X, T), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (network(X, T).float() - expected).abs().max() < 0.05


class Broken(TinyBackbone):
    names = ("blocks.0", "blocks.7")

    def ordered_blocks(self):
        return list(self.names)


class Unused(TinyBackbone):
    def __init__(self):
        super().__init__()
        self.spare = nn.Conv2d(8, 8, 1)

    def ordered_blocks(self):
        return ["blocks.0", "spare"]


def test_wrong_declarations_are_named():
    with pytest.raises(ConfigError, match=r"Conv2d has no ordered_blocks\(\)"):
        ConditionedNetwork(nn.Conv2d(3, 3, 1))
    with pytest.raises(ConfigError, match=r"missing \['blocks.7'\]"):
        ConditionedNetwork(Broken())
    with pytest.raises(ConfigError, match="not called: spare"):
        ConditionedNetwork(Unused())
