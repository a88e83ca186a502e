"""The conditioned network under what trainings do to networks: checkpointing, compiling, DDP, autocast, vmap."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from dtir.core.errors import ConfigError
from dtir.models import ConditionedNetwork
from dtir.models.adapters import Adapter
from dtir.models.backbones import NAFNet
from dtir.models.conditioning import TimeEmbedding, sinusoidal_embedding
from dtir.registry import ADAPTERS
from dtir.testing import TinyBackbone

X, T = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 37])


class PictureBlocks(nn.Module):
    """Its first block takes the picture itself; its blocks are checkpointed on demand."""

    def __init__(self, checkpointed=False):
        super().__init__()
        self.checkpointed = checkpointed
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Tanh()) for _ in range(3))

    def ordered_blocks(self):
        return ["blocks.0", "blocks.1", "blocks.2"]

    def forward(self, x):
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.checkpointed else block(x)
        return x


@ADAPTERS.register_module()
class ShiftByPrompt(Adapter):
    def __init__(self, channels, prompt_dim):
        super().__init__(channels, prompt_dim)
        self.shift = nn.Linear(prompt_dim, channels)

    def forward(self, x, prompt):
        return x + self.shift(prompt)[..., None, None].tanh()


def randomised(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for p in network.parameters():
        nn.init.normal_(p, std=0.3)
    return network


def gradients(network, *calls):
    """Of a sum over several forward passes, all before the one backward pass."""
    outputs = [network(x, t) for x, t in calls]
    total = sum((k + 1) * out.square().sum() for k, out in enumerate(outputs))
    return torch.autograd.grad(total, list(network.parameters()))


@pytest.mark.parametrize("adapter", [None, {"type": "ShiftByPrompt"}], ids=["plain", "adapter"])
def test_checkpointed_blocks_after_two_forwards_get_their_own_time_steps(adapter):
    network = randomised(ConditionedNetwork(PictureBlocks(), embed_dim=8, adapter=adapter))
    calls = [(X, T), (X, T + 9)]
    expected = gradients(network, *calls)
    assert all(grad.abs().max() > 0 for grad in expected)
    network.backbone.checkpointed = True
    torch.testing.assert_close(gradients(network, *calls), expected)
    torch.testing.assert_close(gradients(network, *calls), expected)


def test_nothing_is_remembered_once_a_step_is_over():
    network = randomised(ConditionedNetwork(PictureBlocks(checkpointed=True), embed_dim=8))
    gradients(network, (X, T), (X, T + 9))
    hooks = [next(iter(block._forward_pre_hooks.values())).__self__ for block in network.backbone.blocks]
    assert [len(hook.used) for hook in hooks] == [0, 0, 0]
    with torch.no_grad():
        kept = network(X, T)
    assert [len(hook.used) for hook in hooks] == [0, 0, 0]
    assert kept.grad_fn is None


def test_backbone_by_itself_is_unconditioned():
    plain = randomised(PictureBlocks())
    network = randomised(ConditionedNetwork(copy.deepcopy(plain), embed_dim=8))
    network.backbone.load_state_dict(plain.state_dict())
    assert (network(X, T) - plain(X)).abs().max() > 1e-3
    assert torch.equal(network.backbone(X), plain(X))
    assert torch.equal(copy.deepcopy(network.backbone)(X), plain(X))


def test_a_failed_forward_leaves_nothing_behind():
    network = randomised(ConditionedNetwork(PictureBlocks(), embed_dim=8))
    expected = network.backbone(X)
    with pytest.raises(RuntimeError, match="size of tensor"):
        network(torch.rand(2, 5, 8, 8), T)
    assert torch.equal(network.backbone(X), expected)


def test_a_copy_made_between_forward_and_backward_has_hooks_of_its_own():
    network = randomised(ConditionedNetwork(TinyBackbone(), embed_dim=8))
    expected = gradients(network, (X, T))
    out = network(X, T)
    twin = copy.deepcopy(network)
    nn.init.zeros_(twin.to_modulation.weight)
    twin(X, T + 4)
    torch.testing.assert_close(torch.autograd.grad(out.square().sum(), list(network.parameters())), expected)
    assert (twin(X, T) - out).abs().max() > 1e-3


def test_state_dict_round_trip():
    first = randomised(ConditionedNetwork(TinyBackbone(), embed_dim=8, adapter={"type": "ShiftByPrompt"}))
    second = ConditionedNetwork(TinyBackbone(), embed_dim=8, adapter={"type": "ShiftByPrompt"})
    second.load_state_dict(first.state_dict(), strict=True)
    assert torch.equal(second(X, T), first(X, T))


def test_compiles_to_one_graph_in_training():
    network = randomised(ConditionedNetwork(NAFNet(width=4, enc_blk_nums=[1], dec_blk_nums=[1]), embed_dim=8))
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    want, got = network(X, T), compiled(X, T)
    torch.testing.assert_close(got, want)
    parameters = list(network.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(got.square().sum(), parameters), torch.autograd.grad(want.square().sum(), parameters)
    )
    torch.testing.assert_close(compiled(X, T + 5), network(X, T + 5))


def test_ddp_gives_the_gradients_of_the_bare_network(tmp_path):
    network = randomised(ConditionedNetwork(TinyBackbone(), embed_dim=8))
    expected = gradients(network, (X, T))
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(network)
        for _ in range(2):
            network.zero_grad()
            wrapped(X, T).square().sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    torch.testing.assert_close(tuple(p.grad for p in network.parameters()), expected)


def test_per_sample_gradients_by_vmap_equal_a_loop():
    network = randomised(ConditionedNetwork(TinyBackbone(), embed_dim=8)).double()
    parameters = dict(network.named_parameters())

    def loss(parameters, picture, t):
        return torch.func.functional_call(network, parameters, (picture[None], t[None])).square().sum()

    together = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, X.double(), T)
    for i in range(len(X)):
        alone = torch.func.grad(loss)(parameters, X[i].double(), T[i])
        torch.testing.assert_close({name: grad[i] for name, grad in together.items()}, alone)


def test_identity_and_time_in_bf16_autocast():
    backbone = randomised(TinyBackbone())
    network = ConditionedNetwork(copy.deepcopy(backbone), embed_dim=8)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network(X, T), backbone(X))
    exact = randomised(network)(X, T)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(X, T)
    # bfloat16 keeps 8 bits.
    assert (rough - exact).abs().max() < 0.02 * exact.abs().max()


def test_gain_is_not_rounded_to_bf16():
    network = ConditionedNetwork(TinyBackbone(), embed_dim=8)
    entered = []
    network.backbone.blocks[0].register_forward_pre_hook(lambda _, args: entered.append(args[0]))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        network(X, T)
        network.to_modulation.bias[:8] = 1 / 3
        network(X, T)
    assert entered[1].dtype == torch.bfloat16
    # The nearest bfloat16 number to 4 / 3 is 0.2 % larger, which no average over pixels would hide.
    before, after = (x.double().sum() for x in entered)
    assert float(after / before) == pytest.approx(4 / 3, rel=5e-4)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 3)])
def test_any_size(size):
    network = randomised(ConditionedNetwork(NAFNet(width=4, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1]), embed_dim=8))
    x = torch.rand(2, 3, *size)
    assert network(x, T).shape == x.shape
    assert network(x, T).isfinite().all()


def test_embedding_is_that_of_the_thousand_step_range():
    t = torch.tensor([0.0, 0.5, 50.0])
    out = sinusoidal_embedding(t, 4)
    phases = torch.tensor([[0.0, 0.0], [10.0, 0.1], [1000.0, 10.0]])
    torch.testing.assert_close(out, torch.cat([phases.sin(), phases.cos()], 1), rtol=0, atol=1e-4)
    torch.testing.assert_close(sinusoidal_embedding(t.long()[2:], 4), out[2:])
    assert sinusoidal_embedding(t.bfloat16(), 4).dtype == torch.float32


def test_trying_the_blocks_leaves_modes_and_randomness_alone():
    norms = nn.ModuleDict({"frozen": nn.BatchNorm2d(3).eval(), "free": nn.BatchNorm2d(3)})
    wrapped = PictureBlocks()
    wrapped.norms = norms
    torch.manual_seed(3)
    ConditionedNetwork(wrapped, embed_dim=8)
    after = torch.rand(4)
    torch.manual_seed(3)
    TimeEmbedding(8), nn.Linear(8, 18)
    assert torch.equal(torch.rand(4), after)
    assert (wrapped.training, norms["frozen"].training, norms["free"].training) == (True, False, True)


def test_wrong_uses_are_named():
    network = ConditionedNetwork(TinyBackbone(), embed_dim=8)
    with pytest.raises(ValueError, match=r"one time step per picture, shape \(2,\), got \(1,\)"):
        network(X, T[:1])
    with pytest.raises(ConfigError, match="embed_dim=7"):
        ConditionedNetwork(TinyBackbone(), embed_dim=7)

    class Windows(PictureBlocks):
        def forward(self, x):
            return super().forward(x.reshape(4, 3, 8, 8))

    with pytest.raises(
        ConfigError,
        match=r"backbone Windows fails on a picture of 17 x 13 pixels: RuntimeError: shape '\[4, 3, 8, 8\]'",
    ):
        ConditionedNetwork(Windows())


class Recurrent(TinyBackbone):
    """Calls its first block three times."""

    def forward(self, x):
        y = self.head(x)
        for _ in range(3):
            y = y + self.blocks[0](y)
        return x + self.tail(self.blocks[1](y))


def test_every_call_of_a_recurrent_block_is_modulated():
    network = ConditionedNetwork(Recurrent(), embed_dim=8)
    with torch.no_grad():
        assert torch.equal(network(X, T), network.backbone(X))
        nn.init.normal_(network.to_modulation.weight)
        gains, shifts, _ = network.modulation(T)
        gain, shift = gains[0], shifts[0]
        y = network.backbone.head(X)
        for _ in range(3):
            y = y + network.backbone.blocks[0](y * gain[..., None, None] + shift[..., None, None])
        gain, shift = gains[1], shifts[1]
        y = network.backbone.blocks[1](y * gain[..., None, None] + shift[..., None, None])
        torch.testing.assert_close(network(X, T), X + network.backbone.tail(y))
