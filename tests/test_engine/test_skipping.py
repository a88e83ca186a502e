"""Steps that are skipped: which, how they are counted, and that a skipped step leaves everything as it was."""

import json
import multiprocessing

import pytest
import torch
from tiny_run import BARE, assert_same_state, last_state, tiny_config
from torch import nn

from dtir.core.errors import ConfigError, DtirError
from dtir.core.stage_hook import StageHook
from dtir.engine import StagedRunner
from dtir.engine.optim import StagedOptimWrapper
from dtir.engine.optim.skipping import SkipOptions, StepSkipper
from dtir.testing.stopping import stopped

STAGES = [{"name": "finetune", "iters": 12, "lr": 0.01, "schedule": "constant"}]
SKIP = {"non_finite": True, "spike": 5.0, "window": 4}
WRAPPER = {"type": "StagedOptimWrapper", "optimizer": {"type": "AdamW", "lr": 0.01}, "skip": SKIP}
OPTIONS = {**BARE, "train_cfg.stages": STAGES, "optim_wrapper": WRAPPER, "default_hooks.checkpoint.interval": 4}


class Damage(StageHook):
    """Multiplies the gradients of some steps, by their number."""

    def __init__(self, factors):
        self.factors = factors

    def before_optim_step(self, runner, step):
        for p in runner.model.parameters():
            p.grad.mul_(self.factors.get(runner.iter, 1.0))


class Remembering(StageHook):
    """The weights after every step."""

    def __init__(self):
        self.weights = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.weights.append(torch.cat([p.detach().flatten() for p in runner.model.parameters()]))


def damaged(work_dir, factors, **options) -> StagedRunner:
    runner = StagedRunner.from_cfg(tiny_config(work_dir, **{**OPTIONS, **options}))
    runner.register_hook(Damage(factors))
    return runner


def bad_steps(tmp_path):
    runner, seen = damaged(tmp_path, {0: float("nan"), 6: 1e4, 9: float("inf")}), Remembering()
    runner.register_hook(seen)
    runner.train()

    still = [k for k in range(1, 12) if torch.equal(seen.weights[k], seen.weights[k - 1])]
    assert still == [6, 9]
    assert all(torch.isfinite(weights).all() for weights in seen.weights)
    assert runner.optim_wrapper.skipper.skipped == {"non_finite": 2, "spike": 1}
    log = next(tmp_path.glob("*/vis_data/*.json")).read_text().splitlines()
    lines = [line for line in map(json.loads, log) if "skipped_spike" in line]
    assert [line["skipped_spike"] for line in lines] == [0, 0, 0, 1, 1, 1]
    assert [line["skipped_non_finite"] for line in lines] == [1, 1, 1, 1, 2, 2]
    text = next(tmp_path.glob("*/*.log")).read_text()
    assert "skipped_non_finite 2  skipped_spike 1" in text


def test_bad_steps_leave_the_weights_and_are_counted(tmp_path):
    # In a process of its own: late in a long session of tests the process has ended in this training without a word.
    process = multiprocessing.get_context("spawn").Process(target=bad_steps, args=(tmp_path,))
    process.start()
    process.join(120)
    assert process.exitcode == 0


def test_a_skipped_loss_is_in_no_mean():
    class Optimizer:
        skipper = StepSkipper(SkipOptions())

    skipper = Optimizer.skipper
    assert not skipper.skips(1.0)
    assert skipper.taken
    assert skipper.skips(float("nan"))
    assert not skipper.taken


def test_a_loss_that_is_not_finite_is_skipped_with_its_step(tmp_path):
    class Broken(StageHook):
        def after_loss(self, runner, step, losses):
            if runner.iter in (3, 4, 5):
                losses["loss_restoration"] = losses["loss_restoration"] * float("nan")

    runner = StagedRunner.from_cfg(tiny_config(tmp_path, **OPTIONS))
    runner.register_hook(Broken())
    # The lines of steps 3 and 4, and 5 and 6: of one step the loss is left out, of the other line both.
    runner.train()
    assert runner.optim_wrapper.skipper.skipped == {"non_finite": 3, "spike": 0}
    assert all(torch.isfinite(p).all() for p in runner.model.parameters())


def test_skipping_resumes_to_the_same_bits(tmp_path):
    factors = {1: float("nan"), 7: 1e4, 10: 1e4}
    damaged(tmp_path / "whole", factors).train()
    whole = last_state(tmp_path / "whole")
    runner = damaged(tmp_path / "stopped", factors)
    with stopped(runner, "before_optim_step", 9):
        runner.train()
    damaged(tmp_path / "stopped", factors, resume=True).train()
    resumed = last_state(tmp_path / "stopped")
    assert whole["optimizer"]["skipper"]["skipped"] == {"non_finite": 1, "spike": 2}
    for state in (whole, resumed):
        state["ema_state_dict"] = {}
    assert_same_state(resumed, whole)


def test_a_run_that_stands_still_ends_and_says_why(tmp_path):
    wrapper = {**WRAPPER, "skip": {**SKIP, "patience": 3}}
    runner = damaged(tmp_path, dict.fromkeys(range(5, 12), 1e4), optim_wrapper=wrapper)
    with pytest.raises(
        DtirError, match=r"last 3 steps were skipped .*the median of those taken .*Lower the stage's lr"
    ):
        runner.train()
    assert last_state(tmp_path)["meta"]["iter"] == 4


def test_a_spike_is_told_by_the_steps_taken():
    skipper = StepSkipper(SkipOptions(spike=3.0, window=5))
    assert [skipper.skips(norm) for norm in (1, 100, 1, 1, 1, 4, 2.9, 3.1)] == [False] * 5 + [True, False, True]
    assert skipper.in_a_row == 1
    skipper.forget_norms()
    assert not skipper.skips(1000)


def test_with_the_option_off_nothing_is_skipped_nor_read_back(monkeypatch):
    p = nn.Parameter(torch.zeros(2))
    wrapper = StagedOptimWrapper(torch.optim.SGD([p], lr=1.0), clip_grad=1.0)
    monkeypatch.setattr(torch.Tensor, "item", lambda self: pytest.fail("a value was read back from the device"))
    p.grad = torch.tensor([3e4, 0.0])
    wrapper.apply_gradients()
    assert p[0].tolist() == pytest.approx(-1.0, rel=1e-5)


def test_an_overflow_in_half_precision_is_counted_and_lowers_the_loss_scale():
    p = nn.Parameter(torch.zeros(2))
    wrapper = StagedOptimWrapper(torch.optim.SGD([p], lr=1.0), amp="fp16", skip={})
    for gradient, after, factor in ((float("inf"), 0.0, 0.5), (1.0, -1.0, 1.0)):
        wrapper.scale_loss(torch.zeros(()))
        scale = wrapper.loss_scale
        p.grad = torch.full((2,), gradient * scale)
        wrapper.unscale()
        wrapper.apply_gradients()
        assert p.tolist() == [after, after]
        assert wrapper.loss_scale == factor * scale
    assert wrapper.skipper.skipped == {"non_finite": 1, "spike": 0}


@pytest.mark.parametrize(
    ("skip", "message"),
    [
        ({"spikes": 3.0}, r"optim_wrapper\.skip: unknown key 'spikes'. Did you mean 'spike'\?"),
        ({"spike": 0.5}, r"optim_wrapper\.skip\.spike is 0\.5; expected a number > 1"),
        (True, r"optim_wrapper\.skip is True; expected a dict such as"),
    ],
)
def test_wrong_options_are_named(skip, message):
    with pytest.raises(ConfigError, match=message):
        StagedOptimWrapper(torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=1.0), skip=skip)


def test_all_processes_skip_or_none(monkeypatch):
    """A gradient that is finite here is skipped where another process's norm, which the reduction adds, is not."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    p = nn.Parameter(torch.zeros(2))
    wrapper = StagedOptimWrapper(torch.optim.SGD([p], lr=1.0), skip={})
    for other, skipped in ((3.0, False), (float("nan"), True)):
        monkeypatch.setattr(torch.distributed, "all_reduce", lambda norm, other=other: norm.add_(other))
        before = p.detach().clone()
        p.grad = torch.ones(2)
        wrapper.apply_gradients()
        assert torch.equal(p, before) == skipped
    assert list(wrapper.skipper.norms) == [pytest.approx((2**0.5 + 3) / 2)]
