import pytest
import torch
from tiny_run import built
from torch import nn

from dtir.engine import gradients
from dtir.engine.gradients import LossGradients, SummedGradients


def two_losses(model, x):
    out = model(x)
    return {"a": out.square().mean(), "b": (out[:, 0] - 1).abs().mean()}


def make():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    return model, list(model.parameters()), torch.randn(6, 4, dtype=torch.float64)


def test_both_paths_give_the_same_total():
    model, params, x = make()
    summed = SummedGradients(model, params)
    summed.backward(two_losses(model, x))
    summed.reduce()
    expected = [p.grad.clone() for p in params]
    model.zero_grad(set_to_none=True)
    separate = LossGradients(model, params)
    separate.backward(two_losses(model, x))
    separate.reduce()
    for p, gradient in zip(params, expected, strict=True):
        torch.testing.assert_close(p.grad, gradient)


def test_loss_gradients_are_those_of_each_loss():
    model, params, x = make()
    separate = LossGradients(model, params)
    separate.backward(two_losses(model, x))
    for name, loss in two_losses(model, x).items():
        expected = torch.autograd.grad(loss, params, retain_graph=True)
        for got, want in zip(separate.loss_gradients[name], expected, strict=True):
            torch.testing.assert_close(got, want)


def test_micro_batches_add_up_and_clear_starts_anew():
    model, params, x = make()
    separate = LossGradients(model, params)
    for part in x.split(3):
        separate.backward({name: loss / 2 for name, loss in two_losses(model, part).items()})
    separate.reduce()
    halves = [p.grad.clone() for p in params]
    separate.clear()
    separate.backward(two_losses(model, x))
    separate.reduce()
    for half, p in zip(halves, params, strict=True):
        torch.testing.assert_close(half, p.grad)


def test_changed_loss_gradients_reach_the_total():
    model, params, x = make()
    separate = LossGradients(model, params)
    separate.backward(two_losses(model, x))
    separate.reduce()
    for gradient in separate.loss_gradients["a"]:
        gradient.zero_()
    separate.write_total()
    for p, gradient in zip(params, separate.loss_gradients["b"], strict=True):
        torch.testing.assert_close(p.grad, gradient)


def test_loss_without_graph_and_unused_parameters_count_as_zero():
    model, params, x = make()
    unused = nn.Parameter(torch.ones(2, dtype=torch.float64))
    separate = LossGradients(model, [*params, unused])
    separate.backward({**two_losses(model, x), "absent": torch.zeros((), dtype=torch.float64)})
    separate.reduce()
    assert all(g.abs().max() == 0 for g in separate.loss_gradients["absent"])
    assert unused.grad.abs().max() == 0


@pytest.mark.parametrize("unused", [True, False])
def test_unused_parameters_are_looked_for_where_asked(tmp_path, monkeypatch, unused):
    seen = []
    monkeypatch.setattr(gradients, "_world_size", lambda: 2)
    monkeypatch.setattr(
        gradients, "DistributedDataParallel", lambda model, **options: seen.append(options) or nn.Identity()
    )
    loop = built(tmp_path, **{"train_cfg.find_unused_parameters": unused}).train_loop
    loop.stage = loop.plan.at(0)
    loop._gradient_path()
    assert [options["find_unused_parameters"] for options in seen] == [unused]


def test_a_loss_without_a_graph_costs_no_backward_pass():
    model, params, x = make()
    passes = []
    model[1].register_full_backward_hook(lambda *_: passes.append(1))
    separate = LossGradients(model, params)
    losses = two_losses(model, x)
    separate.backward({"a": losses["a"], "absent": torch.zeros((), dtype=torch.float64)})
    assert len(passes) == 1
