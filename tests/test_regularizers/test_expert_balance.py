import pytest
import torch
from tiny_run import train

from dtir.core.errors import ConfigError
from dtir.regularizers import ExpertBalance
from dtir.regularizers.expert_balance import balance


def test_equal_use_is_one_and_a_collapsed_router_is_n():
    even = 20 * torch.eye(4)
    assert balance(even, 1)[0].item() == pytest.approx(1, abs=1e-4)
    assert balance(even, 1)[1].item() == 1
    collapsed = torch.tensor([[20.0, 0, 0, 0]]).expand(6, 4)
    assert balance(collapsed, 1)[0].item() == pytest.approx(4, abs=1e-4)
    assert balance(collapsed, 2)[1].item() == 0.5


def test_descending_it_spreads_the_choices():
    torch.manual_seed(0)
    logits = (torch.randn(32, 4) * 0.1 + torch.tensor([2.0, 0, 0, 0])).requires_grad_()
    before = balance(logits, 1)
    for _ in range(200):
        (gradient,) = torch.autograd.grad(balance(logits, 1)[0], logits)
        logits = (logits - 5 * gradient).detach().requires_grad_()
    after = balance(logits, 1)
    assert after[0] < before[0] - 0.5
    assert after[1] > before[1]


def test_it_trains_the_routers(tmp_path):
    stages = [{"name": "finetune", "iters": 2, "lr": 1e-2, "generative_share": 0.25}]
    options = {
        "train_cfg.stages": stages,
        "custom_hooks": [],
        "model.network.adapter": {"type": "MoEAdapter", "rank": 2},
        "train_cfg.regularizers": [{"type": "ExpertBalance", "weight": 1.0}],
    }
    runner = train(tmp_path, **options)
    assert 0 < runner.train_loop.step.logged["expert_use"] <= 1
    plain = train(tmp_path / "plain", **{**options, "train_cfg.regularizers": []})
    pairs = zip(runner.model.network.adapters.values(), plain.model.network.adapters.values(), strict=True)
    # Experts are zero at first, so that only the term moves the routers in the first step.
    assert all(not torch.equal(a.experts.router.weight, b.experts.router.weight) for a, b in pairs)


def test_wrong_use_is_named(tmp_path):
    with pytest.raises(ConfigError, match="weight=-1"):
        ExpertBalance(weight=-1)
    with pytest.raises(ConfigError, match=r"model\.network\.adapter"):
        train(tmp_path, **{"train_cfg.regularizers": [{"type": "ExpertBalance"}], "custom_hooks": []})


def test_noisy_choices_are_counted_as_they_were_made(tmp_path):
    """With so much noise, all samples choose the expert that the noise favours, and the term is that of a collapse."""
    adapter = {"type": "MoEAdapter", "rank": 2, "num_experts": 4, "top_k": 1, "router_noise": 1e4}
    options = {
        "train_cfg.stages": [{"name": "finetune", "iters": 1, "lr": 1e-3, "generative_share": 0.25}],
        "custom_hooks": [],
        "model.network.adapter": adapter,
        "train_cfg.regularizers": [{"type": "ExpertBalance", "weight": 1.0}],
    }
    logged = train(tmp_path, **options).train_loop.step.logged
    assert logged["loss_balance"].item() == pytest.approx(4, abs=1e-3)
    assert logged["expert_use"].item() == 0.25
