import pytest
import torch
from tiny_run import tiny_config, train

from dtir.core.errors import ConfigError
from dtir.engine import StagedRunner
from dtir.regularizers import LayerDecay

STAGE = [{"name": "finetune", "iters": 1, "lr": 1.0, "generative_share": 0.25}]
PLAIN = {"optim_wrapper.optimizer": {"type": "SGD", "lr": 1.0}, "optim_wrapper.clip_grad": None}


class Recording(LayerDecay):
    """Keeps the gradients before and after."""

    def gradient_policy(self, runner, step, loss_gradients):
        self.before = {name: [g.clone() for g in part] for name, part in loss_gradients.items()}
        super().gradient_policy(runner, step, loss_gradients)
        self.after = {name: [g.clone() for g in part] for name, part in loss_gradients.items()}


class Terms(Recording):
    """Also keeps each generative sample's own gradient and step."""

    def after_loss(self, runner, step, losses):
        parameters, model = runner.train_loop.trainable_parameters, runner.model
        self.own_steps = model.timestep_of(step.samples["task"][: step.samples["num_generative"]]).tolist()
        self.own_gradients = [
            torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
            for term in model.generative_terms
        ]
        super().after_loss(runner, step, losses)


def run(tmp_path, regularizer, matched=(3, 9, 21), **options):
    config = tiny_config(tmp_path, **{"train_cfg.stages": STAGE, "custom_hooks": [], **PLAIN, **options})
    runner = StagedRunner.from_cfg(config)
    runner.model.matched_t.copy_(torch.tensor(matched))
    for name, p in runner.model.named_parameters():
        if "to_modulation" in name:
            torch.nn.init.normal_(p, std=0.1)
    loop = runner.build_train_loop(runner._train_loop)
    runner._train_loop = loop
    loop.regularizers.append(regularizer)
    runner.register_hook(regularizer)
    runner.train()
    return runner


def shares_of(name: str, t: float, ndim: int):
    """Of a parameter of the tiny network, whose second block is the deeper one."""
    share = torch.exp(torch.tensor(-0.05 * t))
    if name in ("backbone.blocks.1.weight", "backbone.blocks.1.bias", "backbone.tail.weight", "backbone.tail.bias"):
        return share
    if name.startswith("to_modulation"):
        return torch.cat([torch.ones(8), share.expand(8)]).repeat(2).view(-1, *[1] * (ndim - 1))
    return torch.tensor(1.0)


def test_every_samples_gradient_is_scaled_by_block_and_by_its_own_step(tmp_path):
    regularizer = Terms(a=0.05)
    runner = run(tmp_path, regularizer, matched=(3, 9, 21))
    # Two generative samples of eight, of tasks that the sampler drew.
    assert len(set(regularizer.own_steps)) == 2
    assert runner.train_loop.step.logged["generative_t"].item() == sum(regularizer.own_steps) / 2
    names = [name for name, p in runner.model.network.named_parameters() if p.requires_grad]
    after = regularizer.after["loss_generative"]
    for name, found, *own in zip(names, after, *regularizer.own_gradients, strict=True):
        expected = sum(
            g * shares_of(name, t, g.ndim) for g, t in zip(own, regularizer.own_steps, strict=True) if g is not None
        )
        torch.testing.assert_close(found, torch.zeros_like(found) + expected)
    for before, after in zip(
        regularizer.before["loss_restoration"], regularizer.after["loss_restoration"], strict=True
    ):
        assert torch.equal(before, after)


def test_shares_fall_with_depth_and_step_and_end_at_none():
    decay = LayerDecay(a=0.05, T_ref=2.0)
    decay.blocks = torch.arange(4)
    torch.testing.assert_close(decay.shares(40.0), torch.tensor([1.0, 0.36788, 0.13534, 0.04979]), rtol=1e-3, atol=0)
    assert decay.shares(400.0).tolist() == [1, 0, 0, 0]
    uncoupled = LayerDecay(a=0.5, coupled=False)
    uncoupled.blocks = torch.arange(2)
    torch.testing.assert_close(uncoupled.shares(40.0), torch.tensor([1.0, 0.60653]), rtol=1e-3, atol=0)


def test_pre_training_is_left_alone(tmp_path):
    stages = [{"name": "pretrain", "iters": 2, "lr": 1.0, "generative_share": 1.0}]
    options = {"train_cfg.stages": stages, "custom_hooks": [], **PLAIN}
    plain = train(tmp_path / "plain", **options).model.state_dict()
    decayed = train(tmp_path / "decayed", **{**options, "train_cfg.regularizers": [{"type": "LayerDecay", "a": 5.0}]})
    for key, value in decayed.model.state_dict().items():
        torch.testing.assert_close(value, plain[key])


@pytest.mark.parametrize("wrong", [{"a": -1}, {"T_ref": 0}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(ConfigError, match="LayerDecay"):
        LayerDecay(**wrong)
