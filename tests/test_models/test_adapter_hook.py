import copy

import pytest
import torch
from torch import nn

from dtir.core.errors import ConfigError
from dtir.models import ConditionedNetwork
from dtir.models.adapters import Adapter
from dtir.registry import ADAPTERS
from dtir.testing import TinyBackbone

X, T = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 37])


@ADAPTERS.register_module()
class ToyAdapter(Adapter):
    """A gain per channel from the prompt, zero at first; keeps what it was called with."""

    def __init__(self, channels, prompt_dim, bias=True):
        super().__init__(channels, prompt_dim)
        self.gain = nn.Linear(prompt_dim, channels, bias=bias)
        for p in self.parameters():
            nn.init.zeros_(p)
        self.calls = []

    def forward(self, x, prompt):
        self.calls.append((x.detach().clone(), prompt.detach().clone()))
        gain = self.gain(prompt)
        return x + x * (gain[..., None, None] if x.ndim == 4 else gain[:, None])


class Widening(nn.Module):
    """Blocks whose output has other channels than their input, the second one on tokens."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Conv2d(3, 5, 1), nn.Linear(5, 3)

    def ordered_blocks(self):
        return ["up", "down"]

    def forward(self, x):
        tokens = self.down(self.up(x).flatten(2).transpose(1, 2))
        return x + tokens.transpose(1, 2).unflatten(2, x.shape[-2:])


def adapted(backbone: nn.Module, **options) -> ConditionedNetwork:
    torch.manual_seed(0)
    return ConditionedNetwork(backbone, embed_dim=8, adapter={"type": "ToyAdapter", **options})


@pytest.mark.parametrize("kind", [TinyBackbone, Widening])
def test_identity_at_initialisation(kind):
    backbone = kind()
    network = adapted(copy.deepcopy(backbone))
    assert torch.equal(network(X, T), backbone(X))


def test_called_once_per_block_with_its_output_and_the_time_prompt():
    network = adapted(TinyBackbone())
    outputs = []
    for name in network.backbone.ordered_blocks():
        # Before the adapter's own hook, so that it sees what the block itself gave.
        network.backbone.get_submodule(name).register_forward_hook(
            lambda _, args, output: outputs.append(output), prepend=True
        )
    network(X, T)
    assert len(network.adapters) == 2
    for adapter, output in zip(network.adapters.values(), outputs, strict=True):
        ((x, prompt),) = adapter.calls
        assert torch.equal(x, output)
        assert torch.equal(prompt, network.embedding(T))


def test_adapters_have_the_channels_of_the_block_outputs_and_get_their_options():
    network = adapted(Widening(), bias=False)
    assert [adapter.channels for adapter in network.adapters.values()] == [5, 3]
    assert [adapter.prompt_dim for adapter in network.adapters.values()] == [8, 8]
    assert network.adapters["0"].gain.bias is None


def test_adapters_change_what_follows_their_block():
    backbone = TinyBackbone()
    network = adapted(backbone)
    with torch.no_grad():
        network.adapters["0"].gain.bias.fill_(0.5)
    y = backbone.head(X)
    y = y + 1.5 * backbone.blocks[0](torch.relu(y))
    y = y + backbone.blocks[1](torch.relu(y))
    torch.testing.assert_close(network(X, T), X + backbone.tail(y))


@pytest.mark.parametrize("kind", [TinyBackbone, Widening])
def test_adapters_train_with_the_backbone_frozen(kind):
    network = adapted(kind())
    network.requires_grad_(False)
    network.adapters.requires_grad_(True)
    optimizer = torch.optim.SGD(network.adapters.parameters(), lr=0.05)
    target, losses = 0.8 * X, []
    for _ in range(10):
        loss = (network(X, T) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad.abs().max() > 0 for p in network.adapters.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_a_copy_uses_its_own_adapters():
    network = adapted(TinyBackbone())
    before = network(X, T)
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin.adapters["1"].gain.bias.fill_(1.0)
    assert (twin(X, T) - before).abs().max() > 1e-3
    assert torch.equal(network(X, T), before)


def test_an_output_that_no_adapter_can_take_is_named():
    class Pair(TinyBackbone):
        class Block(nn.Module):
            def forward(self, x):
                return x, 1

        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([self.Block(), self.Block()])

        def forward(self, x):
            for block in self.blocks:
                x, _ = block(x)
            return x + 0 * self.tail.bias.sum()

    assert torch.equal(ConditionedNetwork(Pair(), embed_dim=8)(X, T), X)
    with pytest.raises(ConfigError, match=r"block blocks\.0 must .* this was tuple"):
        adapted(Pair())
