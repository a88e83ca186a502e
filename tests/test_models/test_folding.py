import pytest
import torch
from torch import nn

from dtir.core.errors import ConfigError
from dtir.measure.complexity import count_parameters
from dtir.models import ConditionedNetwork
from dtir.models.adapters import Adapter
from dtir.models.backbones import NAFNet, Restormer
from dtir.models.folding import fold
from dtir.registry import ADAPTERS
from dtir.testing import TinyBackbone

X = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
NAFNET = {"width": 8, "enc_blk_nums": [1, 2], "middle_blk_num": 1, "dec_blk_nums": [1, 1]}


def trained(backbone: nn.Module, **options) -> ConditionedNetwork:
    """A network in which every part does something."""
    torch.manual_seed(0)
    network = ConditionedNetwork(backbone, embed_dim=16, num_timesteps=20, **options)
    for p in network.parameters():
        p.data += 0.1 * torch.randn_like(p)
    return network.eval()


def restormer() -> nn.Module:
    return Restormer(dim=8, num_blocks=[1, 1, 1, 1], num_refinement_blocks=1, heads=[1, 1, 2, 2])


@pytest.mark.parametrize("adapter", ["MoEAdapter", "ParallelMoEAdapter", None])
@pytest.mark.parametrize("activation", [None, "gelu"])
@pytest.mark.parametrize("backbone", [lambda: NAFNet(**NAFNET), restormer], ids=["nafnet", "restormer"])
@torch.inference_mode()
def test_folded_equals_the_network_at_its_step(backbone, adapter, activation):
    adapter = adapter and {"type": adapter, "activation": activation, "rank": 3}
    network = trained(backbone(), adapter=adapter)
    before = network(X, torch.tensor([7, 7]))
    folded = fold(network, 7)
    assert (folded(X) - before).abs().max() <= 1e-5 * before.abs().max().clamp(min=1)
    assert (network(X, torch.tensor([3, 3])) - before).abs().max() > 1e-3
    assert torch.equal(network(X, torch.tensor([7, 7])), before)


def test_linear_experts_leave_the_parameters_of_the_backbone():
    network = trained(NAFNet(**NAFNET), adapter={"type": "ParallelMoEAdapter"})
    folded = fold(network, 3)
    assert count_parameters(folded) == count_parameters(network.backbone) + 2 * sum(network.widths)
    assert len(folded.adapters) == 0


@torch.inference_mode()
def test_only_the_chosen_blocks_have_adapters():
    network = trained(NAFNet(**NAFNET), adapter={"type": "ParallelMoEAdapter"}, adapter_blocks=["encoders.1.*"])
    assert list(network.adapters) == ["1", "2"]
    torch.testing.assert_close(fold(network, 5)(X), network(X, torch.tensor([5, 5])), rtol=1e-5, atol=1e-5)
    with pytest.raises(ConfigError, match=r"adapter_blocks=\['body.*'\] matches no block; the blocks are encoders"):
        trained(NAFNet(**NAFNET), adapter={"type": "MoEAdapter"}, adapter_blocks=["body.*"])


def test_another_step_is_refused():
    folded = fold(trained(TinyBackbone()), 7)
    with pytest.raises(ValueError, match=r"folded for t = 7 alone, and t = \[7, 8\] was asked for"):
        folded(X, torch.tensor([7, 8]))
    with pytest.raises(ConfigError, match=r"t=21 is not a time step of this network; expected 0\.\.20"):
        fold(trained(TinyBackbone()), 21)


@ADAPTERS.register_module()
class Unchanged(Adapter):
    def forward(self, x, prompt):
        return x


def test_adapters_of_other_kinds_are_refused():
    with pytest.raises(ConfigError, match="Unchanged cannot be folded"):
        fold(trained(TinyBackbone(), adapter={"type": "Unchanged"}), 3)


def test_a_block_without_a_pointwise_layer_is_named():
    with pytest.raises(ConfigError, match=r"TinyBackbone: no 1x1 convolution .* blocks\.0, blocks\.1; .* MoEAdapter"):
        trained(TinyBackbone(), adapter={"type": "ParallelMoEAdapter"})


def test_parallel_experts_change_nothing_at_first_and_then_learn():
    backbone = NAFNet(**NAFNET)
    for p in backbone.parameters():
        nn.init.normal_(p, std=0.1)
    network = ConditionedNetwork(backbone, embed_dim=16, adapter={"type": "ParallelMoEAdapter"})
    assert torch.equal(network(X, torch.tensor([1, 2])), backbone(X))
    network(X, torch.tensor([1, 2])).square().sum().backward()
    assert all(adapter.experts.up.grad.any() for adapter in network.adapters.values())


def test_experts_inside_of_checkpointed_parts_are_refused_not_skipped():
    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return torch.utils.checkpoint.checkpoint(lambda y: self.layer(y.tanh()).tanh(), x, use_reentrant=False)

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Inner()

        def ordered_blocks(self):
            return ["block"]

        def forward(self, x):
            return x + self.block(x)

    network = trained(Outer(), adapter={"type": "ParallelMoEAdapter"})
    loss = network(X, torch.tensor([1, 2])).square().sum()
    with pytest.raises(RuntimeError, match="ran outside of its block"):
        loss.backward()
