"""Optimisers of other packages: schedule-free AdamW, which averages the weights by itself, and Prodigy."""

import sys

import pytest
import torch
from tiny_run import BARE, built, last_state, tiny_config, train
from torch import nn

from dtir.core.errors import CheckpointError, ConfigError
from dtir.core.stage_hook import StageHook
from dtir.engine import StagedRunner
from dtir.engine.optim import StagedOptimWrapper, StagedOptimWrapperConstructor
from dtir.testing.stopping import stopped

schedulefree = pytest.importorskip("schedulefree", reason="the extra 'optimizers' is not installed")
prodigyopt = pytest.importorskip("prodigyopt", reason="the extra 'optimizers' is not installed")

FREE = {"type": "StagedOptimWrapper", "optimizer": {"type": "ScheduleFreeAdamW", "lr": 0.01}}
PRODIGY = {"type": "StagedOptimWrapper", "optimizer": {"type": "Prodigy", "lr": 1.0, "d0": 1e-4}}
STAGES = [
    {"name": "pretrain", "iters": 4, "lr": 0.01, "generative_share": 1.0, "schedule": "constant", "warmup_iters": 2},
    {"name": "finetune", "iters": 4, "lr": 0.01, "generative_share": 0.25, "schedule": "constant", "validate": True},
]
OPTIONS = {"custom_hooks": [], "train_cfg.stages": STAGES, "train_cfg.val_interval": 3}


class SeenWeights(StageHook):
    """The weights at a validation, at the end of the step before it, and at the start of the step after it."""

    def __init__(self):
        self.validated, self.ended, self.started = {}, {}, {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.ended[runner.iter + 1] = copies(runner.model)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.started[runner.iter] = copies(runner.model)

    def before_val_epoch(self, runner):
        self.validated[runner.iter] = copies(runner.model)


def copies(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def same(first: dict, second: dict) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_what_is_validated_and_saved_is_the_average(tmp_path):
    runner = StagedRunner.from_cfg(tiny_config(tmp_path, optim_wrapper=FREE, **OPTIONS))
    seen = SeenWeights()
    runner.register_hook(seen, priority="LOWEST")
    runner.train()

    assert sorted(seen.validated) == [3, 6, 8]
    # A validation leaves no trace in the weights that train.
    for k in (3, 6):
        assert same(seen.ended[k], seen.started[k])
        assert not same(seen.ended[k], seen.validated[k])
    state, weights = last_state(tmp_path), copies(runner.model)
    assert same(seen.validated[8], state["state_dict"])
    # x = (y - (1 - beta_1) z) / beta_1 (Defazio et al., arXiv 2405.15682, Eq. 3).
    for name, p in runner.model.named_parameters():
        z = runner.optim_wrapper.optimizer.state[p].get("z", p.detach())
        torch.testing.assert_close(state["state_dict"][name], (weights[name] - 0.1 * z) / 0.9, rtol=0, atol=1e-6)


def test_an_average_of_averages(tmp_path):
    """The moving average with a decay of 0 is the optimiser's average, and not the weights that train."""
    hook = [{"type": "StageEMAHook", "decay": 0.0}]
    train(tmp_path / "both", optim_wrapper=FREE, **{**OPTIONS, "custom_hooks": hook})
    train(tmp_path / "alone", optim_wrapper=FREE, **OPTIONS)
    both, alone = last_state(tmp_path / "both"), last_state(tmp_path / "alone")
    assert same(alone["state_dict"], both["state_dict"])
    assert both["meta"]["best"] == alone["meta"]["best"]


# 4: at the start of a stage; 7: within it, after a validation.
@pytest.mark.parametrize(
    ("wrapper", "hooks", "iteration"),
    [(FREE, [{"type": "StageEMAHook", "decay": 0.9}], 4), (FREE, [], 7), (PRODIGY, [], 7)],
    ids=["schedule-free with EMA", "schedule-free", "prodigy"],
)
def test_stop_and_resume_to_the_same_bits(tmp_path, wrapper, hooks, iteration):
    options = {**OPTIONS, "custom_hooks": hooks, "optim_wrapper": wrapper}
    train(tmp_path / "whole", **options)
    whole = last_state(tmp_path / "whole")
    work_dir = tmp_path / "stopped"
    runner = StagedRunner.from_cfg(tiny_config(work_dir, **options))
    with stopped(runner, "before_optim_step", iteration):
        runner.train()
    train(work_dir, resume=True, **options)
    resumed = last_state(work_dir)
    assert resumed["meta"]["best"] == whole["meta"]["best"]
    for part in ("state_dict", "ema_state_dict", "optimizer"):
        assert_equal(whole.get(part), resumed.get(part))


def assert_equal(first: object, second: object) -> None:
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        first, second = list(first.values()), list(second.values())
    if isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_equal(one, other)
    else:
        assert torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second


def quadratic(optimizer, steps: int, rates=None) -> torch.Tensor:
    """The weights after steps towards (1, 2) by an optimiser, or by a wrapper with a learning rate for each step."""
    bare = getattr(optimizer, "optimizer", optimizer)
    (p,) = bare.param_groups[0]["params"]
    for k in range(steps):
        (p - torch.tensor([1.0, 2.0])).square().sum().backward()
        if rates is None:
            bare.step()
            bare.zero_grad()
        else:
            optimizer.set_lr(rates[k])
            optimizer.apply_gradients()
    return p.detach().clone()


def test_a_stages_warm_up_is_that_of_the_optimizer():
    p, q = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    own = schedulefree.AdamWScheduleFree([p], lr=0.1, warmup_steps=4)
    own.train()
    wrapper = StagedOptimWrapper(schedulefree.AdamWScheduleFree([q], lr=0.1))
    expected = quadratic(own, 9)
    assert torch.equal(quadratic(wrapper, 9, [0.1 * min(1, (k + 1) / 4) for k in range(9)]), expected)


@pytest.mark.parametrize("kind", ["ScheduleFreeAdamW", "Prodigy"])
def test_a_stage_begins_with_a_fresh_optimizer_at_the_average(kind):
    config = {"type": "StagedOptimWrapper", "optimizer": {"type": kind, "lr": 0.1}}
    model = nn.Linear(2, 1, bias=False)
    wrapper = StagedOptimWrapperConstructor({**config, "type": "dtir.StagedOptimWrapper"})(model)
    fresh = dict(wrapper.optimizer.param_groups[0], params=None)
    for _ in range(3):
        model(torch.ones(1, 2)).sum().backward()
        wrapper.apply_gradients()
    with wrapper.averaged_weights():
        average = model.weight.detach().clone()
    assert (average != model.weight).all() == (kind == "ScheduleFreeAdamW")
    wrapper.reset_state()
    assert torch.equal(model.weight, average)
    group = dict(wrapper.optimizer.param_groups[0], params=None)
    assert {key: group[key] for key in fresh} == fresh
    assert not any(wrapper.optimizer.state.values())


def test_a_falling_schedule_is_refused_by_name(tmp_path):
    stages = [STAGES[0], {**STAGES[1], "schedule": "cosine"}]
    with pytest.raises(ConfigError, match=r"stage 'finetune': schedule='cosine', but .* set schedule='constant'"):
        train(tmp_path, optim_wrapper=FREE, **{**OPTIONS, "train_cfg.stages": stages})
    assert not list(tmp_path.glob("*.pth"))


def test_prodigy_takes_a_cosine_and_learns(tmp_path):
    stages = [{"name": "finetune", "iters": 30, "lr": 1.0, "warmup_iters": 5}]
    options = {**BARE, "optim_wrapper": PRODIGY, "train_cfg.stages": stages}
    initial = built(tmp_path / "i", **options).model.state_dict()
    trained = train(tmp_path, **options)
    assert trained.optim_wrapper.optimizer.param_groups[0]["d"] > 2e-4
    assert any((trained.model.state_dict()[k] - v).abs().max() > 1e-3 for k, v in initial.items())


def test_prodigy_has_one_step_size():
    with pytest.raises(ConfigError, match="lr_mult and bias_lr_mult must be 1, or 0"):
        StagedOptimWrapperConstructor({**PRODIGY, "type": "dtir.StagedOptimWrapper"}, {"bias_lr_mult": 2.0})(
            nn.Linear(2, 2)
        )


def test_the_state_of_another_kind_of_optimizer_is_refused():
    model = nn.Linear(2, 2)
    adam = StagedOptimWrapper(torch.optim.AdamW(model.parameters()))
    free = StagedOptimWrapper(schedulefree.AdamWScheduleFree(model.parameters()))
    with pytest.raises(CheckpointError, match=r"AdamWScheduleFree keeps an average .* resume with the optimizer that"):
        free.load_state_dict(adam.state_dict())
    with pytest.raises(CheckpointError, match="AdamW keeps no average"):
        adam.load_state_dict(free.state_dict())


@pytest.mark.parametrize(("kind", "package"), [("ScheduleFreeAdamW", "schedulefree"), ("Prodigy", "prodigyopt")])
def test_a_missing_extra_names_itself(monkeypatch, kind, package):
    monkeypatch.setitem(sys.modules, package, None)
    config = {"type": "dtir.StagedOptimWrapper", "optimizer": {"type": kind}}
    with pytest.raises(ConfigError, match=r"needs the extra 'optimizers' .*pip install 'dtir\[optimizers\]'"):
        StagedOptimWrapperConstructor(config)(nn.Linear(2, 2))


def test_without_an_average_there_is_none():
    config = {"type": "dtir.StagedOptimWrapper", "optimizer": {**FREE["optimizer"], "betas": (0.0, 0.9)}}
    with pytest.raises(ConfigError, match=r"betas\[0\] is 0"):
        StagedOptimWrapperConstructor(config)(nn.Linear(2, 2))
