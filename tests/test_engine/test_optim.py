import pytest
import torch
from tiny_run import BARE, built, train
from torch import nn

from dtir.core.errors import CheckpointError, ConfigError
from dtir.engine.optim import StagedOptimWrapper, StagedOptimWrapperConstructor
from dtir.models import ConditionedNetwork
from dtir.models.backbones import NAFNet
from dtir.models.backbones.parts.window_attention import WindowAttention
from dtir.registry import REGULARIZERS
from dtir.regularizers import Regularizer

STAGES = [{"name": "finetune", "iters": 1, "lr": 0.5, "schedule": "constant"}]
SGD = {"type": "SGD", "lr": 1.0}


def groups(model: nn.Module, paramwise: dict | None = None, **optimizer) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of every parameter."""
    config = {"type": "dtir.StagedOptimWrapper", "optimizer": {"type": "AdamW", "lr": 0.1, **optimizer}}
    wrapper = StagedOptimWrapperConstructor(config, paramwise)(model)
    wrapper.set_lr(0.01)
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in wrapper.optimizer.param_groups
        for p in group["params"]
    }


def test_norms_biases_scales_and_modulation_have_no_weight_decay():
    network = ConditionedNetwork(NAFNet(width=4, enc_blk_nums=[1], middle_blk_num=1, dec_blk_nums=[1]), embed_dim=8)
    found = groups(network, weight_decay=0.2)
    assert set(found) == {name for name, _ in network.named_parameters()}
    spared = ("bias", "norm1.weight", "norm2.weight", "beta", "gamma", "to_modulation.weight")
    for name, (rate, decay) in found.items():
        assert rate == pytest.approx(0.01)
        assert decay == (0 if name.endswith(spared) else 0.2), name


def test_a_table_of_biases_is_a_bias():
    attention = WindowAttention(8, 4, 2, qkv_bias=True, qk_scale=None)
    found = groups(attention, {"bias_lr_mult": 2.0}, weight_decay=0.2)
    assert found["relative_position_bias_table"] == (pytest.approx(0.02), 0)
    assert found["qkv.weight"] == (pytest.approx(0.01), 0.2)


def test_paramwise_factors_multiply_the_stages_rate_and_the_decay():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Conv2d(4, 3, 3))
    keys = {"2.": {"lr_mult": 0.1}, "2.bias": {"decay_mult": 0.5}}
    found = groups(model, {"custom_keys": keys, "bias_lr_mult": 2.0, "norm_decay_mult": 1.0}, weight_decay=0.2)
    expected = {
        "0.weight": (0.01, 0.2),
        "0.bias": (0.02, 0.0),
        "1.weight": (0.01, 0.2),
        "1.bias": (0.01, 0.2),
        "2.weight": (0.001, 0.2),
        "2.bias": (0.01, 0.1),
    }
    assert {name: tuple(map(pytest.approx, values)) for name, values in expected.items()} == found
    assert set(groups(model, weight_decay=0.0).values()) == {(0.01, 0.0)}


def test_a_training_honours_the_factors(tmp_path):
    """With plain gradient descent, a parameter's change is its learning rate times the same gradient."""
    changes = []
    for k, paramwise in enumerate(({}, {"custom_keys": {"head": {"lr_mult": 0.25}, "tail": {"lr_mult": 0.0}}})):
        wrapper = {"type": "StagedOptimWrapper", "optimizer": SGD, "paramwise_cfg": paramwise}
        options = {**BARE, "train_cfg.stages": STAGES}
        before = built(tmp_path / f"{k}i", **options).model.state_dict()
        runner = train(tmp_path / str(k), optim_wrapper=wrapper, **options)
        assert runner.message_hub.get_scalar("train/base_lr" if paramwise else "train/lr").current() in (0.5, 1.0)
        changes.append({name: p - before[name] for name, p in runner.model.state_dict().items()})
    plain, found = changes
    assert plain["network.backbone.tail.weight"].abs().max() > 0
    for name, change in plain.items():
        factor = 0.25 if "head" in name else 0.0 if "tail" in name else 1.0
        torch.testing.assert_close(found[name].float(), factor * change.float(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("paramwise", "message"),
    [
        ({"custom_key": {}}, r"paramwise_cfg: unknown key 'custom_key'. Did you mean 'custom_keys'\?"),
        ({"custom_keys": {"0": {"lr_mlt": 1}}}, r"custom_keys\['0'\]: unknown key 'lr_mlt'. Did you mean 'lr_mult'\?"),
        ({"custom_keys": {"0": 0.1}}, r"custom_keys\.0 is 0.1; expected a dict"),
        ({"custom_keys": {"0": {"lr_mult": "x"}}}, r"custom_keys\.0\.lr_mult is 'x'; expected a number"),
        ({"bias_lr_mult": "x"}, "bias_lr_mult is 'x'; expected a number"),
        (3, "paramwise_cfg is 3; expected a dict"),
        ({"custom_keys": {"backbone": {}}}, "'backbone' is part of no parameter's name; names are such as 0.weight"),
    ],
)
def test_wrong_factors_are_named(paramwise, message):
    with pytest.raises(ConfigError, match=message):
        groups(nn.Sequential(nn.Conv2d(3, 4, 3)), paramwise)


def test_a_missing_optimizer_is_named():
    with pytest.raises(ConfigError, match=r"optim_wrapper\.optimizer is missing"):
        StagedOptimWrapperConstructor({"type": "dtir.StagedOptimWrapper"})


def test_a_rate_of_zero_is_named():
    """The factors of groups would be lost with it."""
    with pytest.raises(ConfigError, match=r"optim_wrapper\.optimizer\.lr is 0; expected a number > 0, or none"):
        groups(nn.Conv2d(3, 4, 3), {"bias_lr_mult": 2.0}, lr=0)


def test_clipping_is_of_the_norm_of_all_gradients():
    model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    wrapper = StagedOptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0), clip_grad=2.0)
    for lengths, factor in (([3.0, 0.0, 4.0], 2 / 5), ([0.3, 0.0, 0.4], 1.0)):
        before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
        gradient = torch.tensor(lengths).double()
        model[0].weight.grad, model[1].weight.grad = gradient[None, :2].clone(), gradient[None, 2:].clone()
        wrapper.apply_gradients()
        after = torch.cat([p.detach().flatten() for p in model.parameters()])
        torch.testing.assert_close(before - after, factor * gradient, rtol=1e-5, atol=0)
        assert wrapper.grad_norm.item() == pytest.approx(gradient.norm().item())
        assert all(p.grad is None for p in model.parameters())


@REGULARIZERS.register_module()
class Pull(Regularizer):
    """Adds a large gradient."""

    def before_optim_step(self, runner, step):
        for p in runner.train_loop.trainable_parameters:
            p.grad.add_(10.0)


def test_what_regularizers_add_is_clipped_with_the_rest(tmp_path):
    options = {**BARE, "train_cfg.stages": STAGES, "train_cfg.regularizers": [{"type": "Pull"}]}
    before = built(tmp_path / "before", **options).model.state_dict()
    wrapper = {"type": "StagedOptimWrapper", "optimizer": SGD, "clip_grad": 2.0}
    after = train(tmp_path / "run", optim_wrapper=wrapper, **options).model.state_dict()
    change = torch.cat([(after[name] - p).flatten().float() for name, p in before.items()])
    # The stage's rate, 0.5, times the norm that gradients are clipped to.
    assert change.norm().item() == pytest.approx(1.0, rel=1e-4)


@REGULARIZERS.register_module()
class KeepGradients(Regularizer):
    """Has the losses' gradients taken apart, and keeps the largest."""

    needs_loss_gradients = True
    largest = 0.0

    def gradient_policy(self, runner, step, loss_gradients):
        self.largest = max(g.abs().max().item() for part in loss_gradients.values() for g in part)


def test_half_precision_with_separate_gradients_trains_as_float32_does(tmp_path):
    stages = [{**STAGES[0], "iters": 2, "lr": 0.05, "generative_share": 0.25}]
    options = {**BARE, "train_cfg.stages": stages, "train_cfg.regularizers": [{"type": "KeepGradients"}]}
    initial = built(tmp_path / "i", **options).model.state_dict()
    changes, largest = [], []
    for amp in (None, "fp16"):
        wrapper = {"type": "StagedOptimWrapper", "optimizer": SGD, "amp": amp}
        runner = train(tmp_path / str(amp), optim_wrapper=wrapper, **options)
        trained = runner.model.state_dict()
        changes.append(torch.cat([(trained[k] - v).flatten().float() for k, v in initial.items()]))
        largest.append(runner.train_loop.regularizers[0].largest)
    assert changes[0].norm() > 1e-2
    assert (changes[1] - changes[0]).norm() < 0.02 * changes[0].norm()
    assert largest[1] == pytest.approx(largest[0], rel=0.05)


def test_the_state_of_other_groups_is_refused_with_what_to_do():
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    config = {"type": "dtir.StagedOptimWrapper", "optimizer": {"type": "AdamW", "lr": 0.1, "weight_decay": 0.1}}
    alike = {f"{kind}_decay_mult": 1.0 for kind in ("bias", "norm", "flat", "modulation")}
    earlier = StagedOptimWrapperConstructor(config, alike)(model)
    assert len(earlier.optimizer.param_groups) == 1
    with pytest.raises(CheckpointError, match=r"other groups of parameters .*bias_decay_mult=1\.0"):
        StagedOptimWrapperConstructor(config, None)(model).load_state_dict(earlier.state_dict())


def test_an_optimizer_that_fails_in_its_step_is_named_with_its_settings():
    p = nn.Parameter(torch.ones(3))
    wrapper = StagedOptimWrapper(torch.optim.SparseAdam([p], lr=0.25))
    p.sum().backward()
    with pytest.raises(ConfigError, match=r"SparseAdam fails in a step: .*dense gradients.* lr=0\.25"):
        wrapper.apply_gradients()


class Refusing(torch.optim.SGD):
    def step(self, closure=None):
        raise ConfigError("it says itself what to do.")


def test_what_an_optimizer_says_of_itself_stays_as_it_is():
    p = nn.Parameter(torch.ones(3))
    wrapper = StagedOptimWrapper(Refusing([p], lr=0.25))
    p.sum().backward()
    with pytest.raises(ConfigError, match=r"^it says itself what to do\.$"):
        wrapper.apply_gradients()
