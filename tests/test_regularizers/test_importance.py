from types import SimpleNamespace

import pytest
import torch
from tiny_run import assert_same_state, built, last_state, tiny_config, train
from torch import nn

from dtir.core.errors import ConfigError
from dtir.core.stage_hook import TrainStep
from dtir.datasets import SampleKey
from dtir.engine import StagedRunner
from dtir.models import ConditionedNetwork
from dtir.models.backbones import NAFNet
from dtir.registry import BACKBONES
from dtir.regularizers import ParameterImportance, ReleasedImportance
from dtir.regularizers.anchored import LOG_INTERVAL
from dtir.regularizers.depth import parameter_depths
from dtir.regularizers.estimation import degraded_batches, generative_batches
from dtir.regularizers.importance import per_sample_gradients
from dtir.testing import TinyBackbone
from dtir.testing.stopping import stopped

# A step of this optimiser is minus the gradient.
PLAIN = {"optim_wrapper.optimizer": {"type": "SGD", "lr": 1.0}, "optim_wrapper.clip_grad": None, "custom_hooks": []}
STAGES = [
    {"name": "pretrain", "iters": 2, "lr": 1e-2, "generative_share": 1.0, "schedule": "constant"},
    {"name": "finetune", "iters": 3, "lr": 1e-2, "generative_share": 0.25, "schedule": "constant"},
]


def regularizer(**options) -> dict:
    return {"type": "ParameterImportance", "num_samples": 6, "chunk": 4, **options}


def batch_of(n: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, eps = torch.rand(2, n, 3, 8, 8, generator=generator)
    return {"x": x, "t": torch.arange(n) + 1, "eps": eps}


def objective(out, sample):
    return (sample["x"] - out - sample["eps"]).abs().mean()


def test_gradients_are_those_of_single_samples():
    torch.manual_seed(0)
    network = ConditionedNetwork(NAFNet(width=4, enc_blk_nums=[1], middle_blk_num=1, dec_blk_nums=[1]), embed_dim=8)
    for p in network.parameters():
        nn.init.normal_(p, std=0.2)
    batch, params = batch_of(3), dict(network.named_parameters())
    found = per_sample_gradients(network, {k: p.detach() for k, p in params.items()}, objective, batch)
    for k in range(3):
        one = {name: value[k : k + 1] for name, value in batch.items()}
        loss = objective(network(one["x"], one["t"]), one)
        for name, expected in zip(params, torch.autograd.grad(loss, params.values()), strict=True):
            torch.testing.assert_close(found[name][k], expected, rtol=1e-4, atol=1e-6)


class Scale(nn.Module):
    """One parameter, which is what the network gives out."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(0.7))

    def forward(self, x, t):
        return self.theta.expand_as(x)


@pytest.mark.parametrize("offset", [0.0, 0.6, -0.8])
def test_the_expansion_of_a_quadratic_is_exact(offset):
    """Samples y with loss (theta - y)^2 / 2, of mean square distance 1 from theta: their mean square gradient is 1 too.

    That is the loss's curvature, so that the increase of the mean loss is g d + h d^2 / 2 for a change d of any size.
    """
    network = Scale().double()
    spread = (1 - offset**2) ** 0.5
    y = network.theta.detach() + torch.tensor([offset - spread, offset + spread]).double().view(2, 1, 1, 1)
    gradients = per_sample_gradients(
        network,
        {"theta": network.theta.detach()},
        lambda out, sample: (out - sample["x"]).square().sum() / 2,
        {"x": y, "t": torch.zeros(2)},
    )["theta"]
    g, h = gradients.mean(), gradients.square().mean()
    for d in (0.3, -2.0):
        increase = ((network.theta + d - y).square() - (network.theta - y).square()).mean() / 2
        assert (g * d + h * d**2 / 2).item() == pytest.approx(increase.item(), rel=1e-6)


@pytest.mark.parametrize("target", ["loss", "output"])
def test_the_estimate_is_that_of_a_loop_over_samples(tmp_path, target):
    runner = StagedRunner.from_cfg(tiny_config(tmp_path, **{"train_cfg.stages": STAGES, **PLAIN}))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    model, network = runner.model, runner.model.network
    importance = ParameterImportance(num_samples=5, chunk=2, target=target)
    mean, square = importance.estimate(runner, 1)
    importance.chunk = 1
    gradients = []
    draw = generative_batches if target == "loss" else degraded_batches
    for sample in draw(runner, 1, ([k] for k in range(5)), 5):
        out = network(sample["x"], sample["t"])
        if target == "loss":
            loss = model.generative_loss(sample["x"] - out, sample["noise"]).sum()
        else:
            loss = out.square().sum() / 2
        # What no sample's loss depends on has no gradient.
        gradients.append(torch.autograd.grad(loss, list(network.parameters()), materialize_grads=True))
    assert len(gradients) == 5
    for (name, _), *values in zip(network.named_parameters(), *gradients, strict=True):
        values = torch.stack(values)
        torch.testing.assert_close(mean[name], values.mean(0), rtol=1e-4, atol=1e-6 * values.abs().max().item())
        torch.testing.assert_close(square[name], values.square().mean(0), rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", [ParameterImportance, ReleasedImportance])
def test_the_estimate_is_without_what_is_random_in_training(tmp_path, kind):
    runner = built(tmp_path, **{"train_cfg.stages": STAGES, **PLAIN})
    network, modes = runner.model.train().network, set()
    network.register_forward_pre_hook(lambda module, _: modes.add(module.training))
    frozen = next(network.backbone.children()).eval()
    size = {"num_samples": 1} if kind is ParameterImportance else {"num_batches": 1, "batch_size": 1}
    kind(**size).before_stage(runner, runner.train_loop.plan.at(2), fresh=True)
    assert modes == {False}
    assert network.training
    assert not frozen.training


def explicit_term(runner, state, order: str, decay: float, weight: float) -> torch.Tensor:
    network = runner.model.network
    depths = parameter_depths(network)
    total = 0.0
    for name, p in network.named_parameters():
        d = p - state["anchor"][name]
        first = state["mean"][name] * d
        second = state["square"][name] * d.square() / 2
        value = second if order == "fisher" else first.abs() + second
        total = total + (torch.exp(-decay * depths[name]) * value).sum()
    return weight * total


class Watching(ParameterImportance):
    """Compares what is added to the gradient with autograd's of the formula, in every step."""

    checked = 0

    def before_optim_step(self, runner, step):
        params = [p for p in runner.model.network.parameters() if p.requires_grad]
        before = [p.grad.clone() for p in params]
        super().before_optim_step(runner, step)
        if not self.state:
            assert all(torch.equal(p.grad, g) for p, g in zip(params, before, strict=True))
            return
        term = explicit_term(runner, self.state, self.order, self.decay, self.weight)
        for p, g, expected in zip(params, before, torch.autograd.grad(term, params), strict=True):
            torch.testing.assert_close(p.grad - g, expected, rtol=1e-3, atol=1e-6)
        if step.iteration % LOG_INTERVAL == 0:
            torch.testing.assert_close(step.logged["importance"], term.detach(), rtol=1e-4, atol=1e-8)
        Watching.checked += 1


@pytest.mark.parametrize(
    "options",
    [{}, {"order": "fisher"}, {"target": "output"}, {"decay": 0.0}, {"reestimate": False}],
    ids=str,
)
def test_the_added_gradient_is_autograds(tmp_path, options):
    Watching.checked = 0
    runner = StagedRunner.from_cfg(tiny_config(tmp_path, **{"train_cfg.stages": STAGES, **PLAIN}))
    loop = runner._train_loop = runner.build_train_loop(runner._train_loop)
    watching = Watching(weight=0.03, num_samples=6, chunk=4, **options)
    loop.regularizers.append(watching)
    runner.register_hook(watching)
    runner.train()
    assert Watching.checked == 3
    state = watching.state_dict()
    assert all(value.dtype == torch.float32 and value.device.type == "cpu" for value in state["square"].values())
    # By Jensen's inequality.
    assert all((state["square"][k] >= state["mean"][k].square() * (1 - 1e-5)).all() for k in state["mean"])


def estimates(tmp_path, **options) -> dict:
    config = tiny_config(
        tmp_path, **{"train_cfg.stages": STAGES, "train_cfg.regularizers": [regularizer(**options)], **PLAIN}
    )
    runner = StagedRunner.from_cfg(config)
    runner.train()
    return runner.train_loop.regularizers[0].state_dict()


def test_chunks_do_not_matter(tmp_path):
    one, many = estimates(tmp_path / "1", chunk=1, weight=0.0), estimates(tmp_path / "6", chunk=6, weight=0.0)
    for part in ("mean", "square"):
        for name, value in one[part].items():
            torch.testing.assert_close(value, many[part][name], rtol=1e-4, atol=1e-9)


def test_a_stronger_pull_keeps_parameters_nearer(tmp_path):
    distances = []
    for weight in (0.0, 3.0):
        options = {"train_cfg.stages": STAGES, "train_cfg.regularizers": [regularizer(weight=weight)]}
        runner = train(tmp_path / str(weight), **{**options, "custom_hooks": []})
        anchor = runner.train_loop.regularizers[0].state_dict()["anchor"]
        changes = [(p.detach() - anchor[name]).square().sum() for name, p in runner.model.network.named_parameters()]
        distances.append(sum(changes).item())
    assert distances[1] < 0.9 * distances[0]


@BACKBONES.register_module()
class WithDeadLayer(TinyBackbone):
    """Has a layer that no output depends on, as some published networks do."""

    def __init__(self, width: int = 8) -> None:
        super().__init__(width)
        self.dead = nn.Conv2d(3, 3, 1)


def test_layers_without_effect_are_left_alone(tmp_path):
    backbone = {"model.network.backbone": {"type": "WithDeadLayer"}}
    options = {"train_cfg.stages": STAGES, "train_cfg.regularizers": [regularizer(weight=0.03)], "custom_hooks": []}
    runner = train(tmp_path, **options, **backbone)
    state = runner.train_loop.regularizers[0].state_dict()
    dead = runner.model.network.backbone.dead
    assert torch.equal(dead.weight, state["anchor"]["backbone.dead.weight"])
    assert not state["square"]["backbone.dead.weight"].any()


def test_a_resumed_run_keeps_its_importances(tmp_path):
    options = {"train_cfg.regularizers": [regularizer(weight=0.03)]}
    train(tmp_path / "whole", **options)
    runner = StagedRunner.from_cfg(tiny_config(tmp_path / "stopped", **options))
    with stopped(runner, "before_optim_step", 7):
        runner.train()
    train(tmp_path / "stopped", resume=True, **options)
    whole, resumed = last_state(tmp_path / "whole"), last_state(tmp_path / "stopped")
    assert_same_state(resumed, whole)
    for part in ("mean", "square", "anchor"):
        assert all(torch.equal(value, resumed["importance"][part][k]) for k, value in whole["importance"][part].items())


@pytest.mark.parametrize("wrong", [{"order": "third"}, {"target": "features"}, {"num_samples": 0}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ParameterImportance(**wrong)


def test_the_samples_are_clean_pictures_noised_and_degraded_ones_at_their_steps(tmp_path):
    """By the equations: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps of centred pictures."""
    runner = StagedRunner.from_cfg(tiny_config(tmp_path))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    model, dataset = runner.model, runner.train_dataloader.dataset
    model.matched_t.copy_(torch.tensor([5, 9, 2]))
    first = 2**31 - 1 - 4
    items = {
        generative: [dataset[SampleKey(1, first + k, k % 3, k % dataset.sizes[k % 3], generative)] for k in range(4)]
        for generative in (True, False)
    }
    (batch,) = generative_batches(runner, 1, [range(4)], 4)
    gt = torch.stack([item["data_samples"]["gt"] for item in items[True]]).float() / 255
    abar = model.scheduler.marginal(batch["t"])[0].square().view(-1, 1, 1, 1)
    x_0 = 2 * gt - 1
    torch.testing.assert_close(2 * batch["x"] - 1, abar.sqrt() * x_0 + (1 - abar).sqrt() * batch["noise"])
    assert batch["t"].min() >= 1
    assert len({picture.sum().item() for picture in batch["noise"]}) == 4
    (batch,) = degraded_batches(runner, 1, [range(4)], 4)
    assert torch.equal(batch["x"], torch.stack([item["inputs"] for item in items[False]]).float() / 255)
    assert batch["t"].tolist() == [5, 9, 2, 5]


def test_the_ratio_is_that_of_the_norms(tmp_path):
    network = Scale()
    term = ParameterImportance(weight=2.0, decay=0.0)
    one = {"theta": torch.tensor(0.5)}
    term.state = {"mean": one, "square": {"theta": torch.tensor(3.0)}, "anchor": {"theta": torch.tensor(0.6)}}
    runner = SimpleNamespace(model=SimpleNamespace(network=network))
    term._lay_out(runner)
    network.theta.grad = torch.tensor(-4.0)
    step = TrainStep(None, 0)
    term.before_optim_step(runner, step)
    # 2 (0.5 |d| + 3 d^2 / 2) at d = 0.1, and its derivative.
    assert step.logged["importance"].item() == pytest.approx(0.13)
    assert step.logged["importance_ratio"].item() == pytest.approx(1.6 / 4)
    assert network.theta.grad.item() == pytest.approx(-4 + 1.6)
