import pytest
import torch
from torch import nn

from dtir.core.errors import ConfigError
from dtir.models import ConditionedNetwork
from dtir.models.adapters import MixtureOfExperts, MoEAdapter
from dtir.registry import BACKBONES, RESTORERS
from dtir.testing import TinyBackbone

PROMPT = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randn(3, 10, 6, generator=torch.Generator().manual_seed(1))


def experts(**options) -> MixtureOfExperts:
    """Some that do something."""
    torch.manual_seed(0)
    model = MixtureOfExperts(6, 6, prompt_dim=8, **{"num_experts": 5, "top_k": 2, "rank": 3, **options})
    nn.init.normal_(model.up)
    return model


def test_changes_nothing_at_first_and_then_learns():
    model = MoEAdapter(channels=6, prompt_dim=8)
    assert torch.equal(model(TOKENS, PROMPT), TOKENS)
    model(TOKENS, PROMPT).square().sum().backward()
    assert model.experts.up.grad.any()


# Two experts of rank 1 are cheaper as bottlenecks, linear ones of rank 3 as one 6 x 6 matrix.
@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("activation", [None, "relu", "gelu"])
@torch.no_grad()
def test_equals_the_sum_over_all_experts(activation, rank):
    model = experts(activation=activation, rank=rank)
    act = {None: nn.Identity(), "relu": nn.ReLU(), "gelu": nn.GELU()}[activation]
    expected = []
    for x, prompt in zip(TOKENS, PROMPT, strict=True):
        logits = model.router(prompt)
        kept = logits >= logits.sort(descending=True).values[1]
        share = logits.masked_fill(~kept, -torch.inf).softmax(0)
        expected.append(sum(s * act(x @ d.T) @ u for s, d, u in zip(share, model.down, model.up, strict=True)))
    torch.testing.assert_close(model(TOKENS, PROMPT), torch.stack(expected))
    base = TOKENS.flip(0)
    torch.testing.assert_close(model(TOKENS, PROMPT, base), base + torch.stack(expected))


@pytest.mark.parametrize("rank", [1, 3])
@torch.no_grad()
def test_autocast_does_not_round_what_is_added_to(rank):
    model = MoEAdapter(channels=6, prompt_dim=8, rank=rank)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(TOKENS, PROMPT), TOKENS)


@torch.no_grad()
def test_maps_and_tokens_are_treated_alike():
    model = experts()
    maps = TOKENS.unflatten(1, (2, 5)).permute(0, 3, 1, 2)
    found = model(maps, PROMPT)
    torch.testing.assert_close(found.permute(0, 2, 3, 1).flatten(1, 2), model(TOKENS, PROMPT))
    torch.testing.assert_close(model(maps.contiguous(), PROMPT), found)


def test_gradients_reach_the_router_and_only_the_chosen_experts():
    model = experts(num_experts=4, top_k=2)
    _, chosen = model.routing(PROMPT[:1])
    model(TOKENS[:1], PROMPT[:1]).square().sum().backward()
    reached = {k for k in range(4) if model.up.grad[k].any() or model.down.grad[k].any()}
    assert reached == set(chosen[0].tolist())
    assert model.router.weight.grad.any()


def test_shares_of_a_sample_sum_to_one():
    share, chosen = experts(top_k=3).routing(PROMPT)
    torch.testing.assert_close(share.sum(1), torch.ones(3))
    assert all(len(set(row)) == 3 for row in chosen.tolist())


def test_routers_read_a_learned_embedding_of_the_step():
    network = ConditionedNetwork(TinyBackbone(), embed_dim=8, adapter={"type": "MoEAdapter"}, num_timesteps=4)
    for one in network.adapters.values():
        nn.init.normal_(one.experts.up)
    network(torch.rand(2, 3, 8, 8), torch.tensor([1, 3])).square().sum().backward()
    assert [row.any().item() for row in network.prompt.learned.grad] == [False, True, False, True, False]


def test_prompts_must_reach_as_far_as_the_scheduler():
    network = {"type": "TimeConditioning", "backbone": {"type": "TinyBackbone"}, "adapter": {"type": "MoEAdapter"}}
    scheduler = {"type": "DDPMScheduler", "num_timesteps": 100}
    with pytest.raises(ConfigError, match=r"model.network.num_timesteps=50.*100"):
        RESTORERS.build({"type": "DiffusionRestorer", "tasks": ["rain"], "network": network, "scheduler": scheduler})


@pytest.mark.parametrize("kind", ["MoEAdapter", "ParallelMoEAdapter"])
def test_budget_on_nafnet_is_that_of_the_paper(kind):
    backbone = {"type": "NAFNet", "width": 64, "enc_blk_nums": [1, 1, 1, 28], "dec_blk_nums": [1, 1, 1, 1]}
    with torch.device("meta"):
        network = ConditionedNetwork(BACKBONES.build(backbone), adapter={"type": kind})
    assert round(sum(p.numel() for p in network.adapters.parameters()) / 1e6, 1) == 1.8


@pytest.mark.parametrize("wrong", [{"top_k": 0}, {"top_k": 6}, {"rank": 0}, {"activation": "tanh"}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))}={next(iter(wrong.values()))!r}"):
        experts(**wrong)


def test_router_noise_is_for_training_and_common_to_all_samples():
    model = experts(router_noise=5.0)
    one = PROMPT[:1].expand(3, -1)
    quiet = model.eval().routing(one)[0]
    assert torch.equal(model.routing(one)[0], quiet)
    model.train()
    noisy = [model.routing(one)[0] for _ in range(2)]
    assert torch.equal(noisy[0][0], noisy[0][2])
    assert not torch.equal(noisy[0], noisy[1])


def test_mixed_precision_chooses_the_same_experts():
    """Also where bf16 cannot tell the logits apart."""
    model = experts()
    with torch.no_grad():
        model.router.weight.zero_()
        model.router.bias.copy_(1 + 1e-4 * torch.arange(len(model.router.bias)))
    share, chosen = model.routing(PROMPT)
    with torch.autocast("cpu", torch.bfloat16):
        in_half = model.routing(PROMPT)
    assert torch.equal(in_half[1], chosen)
    torch.testing.assert_close(in_half[0], share)
