"""What users bring from outside: a backbone in a file of its own, regularizers, adapters."""

import os
import sys

import pytest
import torch
from mmengine.hooks import Hook
from tiny_run import CONFIG, last_state, run_process, tiny_config, train, train_command

from dtir.apis.build import load_restorer
from dtir.core.errors import ConfigError, DtirError
from dtir.engine import StagedRunner
from dtir.registry import REGULARIZERS
from dtir.regularizers import Regularizer

BACKBONE = """
from torch import nn

from dtir.registry import BACKBONES


@BACKBONES.register_module()
class UsersNet(nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1))
        self.tail = nn.Conv2d(width, 3, 3, padding=1)

    def ordered_blocks(self):
        return ["body.2", "tail"]

    def forward(self, x):
        return x + self.tail(self.body(x))
"""


def test_a_users_backbone_trains_through_all_stages(tmp_path, monkeypatch):
    (tmp_path / "users_net.py").write_text(BACKBONE)
    config = tmp_path / "users_config.py"
    config.write_text(
        f"_base_ = {str(CONFIG)!r}\n"
        "custom_imports = dict(imports=['users_net'])\n"
        "model = dict(network=dict(backbone=dict(_delete_=True, type='UsersNet', width=4)))\n"
    )
    command = train_command(tmp_path / "run")
    command[command.index(str(CONFIG))] = str(config)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    result = run_process(command)
    assert result.returncode == 0, result.stderr[-3000:]
    state = last_state(tmp_path / "run")
    assert state["meta"]["iter"] == 14
    assert (state["state_dict"]["matched_t"] >= 0).all()
    monkeypatch.syspath_prepend(tmp_path)
    __import__("users_net")
    restorer = load_restorer(tmp_path / "run" / "iter_14.pth")
    assert type(restorer.network.backbone) is sys.modules["users_net"].UsersNet


@REGULARIZERS.register_module()
class RecordingRegularizer(Regularizer):
    """Adds a term to the loss, watches every hook point, and keeps a counter in the checkpoint."""

    key = "recording"

    def __init__(self):
        self.calls = []
        self.steps = 0

    def before_stage(self, runner, stage, fresh):
        self.calls.append(("before_stage", stage.name, fresh))

    def after_loss(self, runner, step, losses):
        losses["loss_extra"] = 1e-3 * sum(p.square().sum() for p in runner.model.parameters())

    def before_optim_step(self, runner, step):
        self.steps += 1
        self.calls.append(("before_optim_step", [p.grad is not None for p in runner.train_loop.trainable_parameters]))

    def after_stage(self, runner, stage):
        self.calls.append(("after_stage", stage.name))

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


@REGULARIZERS.register_module()
class GenerativeOffRegularizer(Regularizer):
    """Removes the generative gradient, as a gradient policy."""

    needs_loss_gradients = True

    def gradient_policy(self, runner, step, loss_gradients):
        assert set(loss_gradients) == {"loss_restoration", "loss_generative"}
        torch._foreach_zero_(loss_gradients["loss_generative"])


def test_regularizers_reach_every_stage_point(tmp_path):
    runner = train(tmp_path, **{"train_cfg.regularizers": [{"type": "RecordingRegularizer"}]})
    regularizer = runner.train_loop.regularizers[0]
    names = ["pretrain", "finetune", "incremental_1", "incremental_2", "incremental_3"]
    assert [c[1:] for c in regularizer.calls if c[0] == "before_stage"] == [(name, True) for name in names]
    assert [c[1] for c in regularizer.calls if c[0] == "after_stage"] == names
    assert all(all(c[1]) for c in regularizer.calls if c[0] == "before_optim_step")
    assert regularizer.steps == 14
    assert last_state(tmp_path)["recording"] == {"steps": 14}
    again = train(tmp_path, resume=True, **{"train_cfg.regularizers": [{"type": "RecordingRegularizer"}]})
    assert again.train_loop.regularizers[0].steps == 14


def test_gradient_policy_decides_what_is_learnt(tmp_path):
    stages = [{"name": "pretrain", "iters": 3, "lr": 1e-3, "generative_share": 1.0}]
    options = {"train_cfg.stages": stages, "train_cfg.regularizers": [{"type": "GenerativeOffRegularizer"}]}
    options["optim_wrapper.optimizer"] = {"type": "SGD", "lr": 1.0}
    initial = StagedRunner.from_cfg(tiny_config(tmp_path / "initial")).model.state_dict()
    trained = train(tmp_path / "policy", **options).model.state_dict()
    assert all(torch.equal(value, initial[key]) for key, value in trained.items())


def test_separate_loss_gradients_train_like_the_sum(tmp_path):
    class KeepRegularizer(Regularizer):
        needs_loss_gradients = True

    REGULARIZERS.register_module(module=KeepRegularizer, force=True)
    train(tmp_path / "sum")
    train(tmp_path / "separate", **{"train_cfg.regularizers": [{"type": "KeepRegularizer"}]})
    expected = last_state(tmp_path / "sum")["ema_state_dict"]
    for key, value in last_state(tmp_path / "separate")["ema_state_dict"].items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, expected[key], rtol=0, atol=1e-6)


def test_stages_freeze_what_they_do_not_train(tmp_path):
    stages = [{"name": "finetune", "iters": 3, "lr": 1e-2, "trainable": ["network.backbone.tail.*"]}]
    initial = StagedRunner.from_cfg(tiny_config(tmp_path / "initial")).model.state_dict()
    trained = train(tmp_path / "run", **{"train_cfg.stages": stages}).model.state_dict()
    changed = {key for key, value in trained.items() if not torch.equal(value, initial[key])}
    assert changed - {"matched_t"} == {"network.backbone.tail.weight", "network.backbone.tail.bias"}
    stages[0]["trainable"] = []
    with pytest.raises(ConfigError, match="stage 'finetune' trains nothing"):
        train(tmp_path / "none", **{"train_cfg.stages": stages})
    stages[0]["trainable"] = ["network.*", "network.bakcbone.*"]
    with pytest.raises(
        ConfigError, match=r"'network\.bakcbone\.\*', which matches no parameter .*network\.backbone\.\*"
    ):
        train(tmp_path / "typo", **{"train_cfg.stages": stages})


def test_tasks_of_model_and_data_must_agree(tmp_path):
    with pytest.raises(ConfigError, match="must be the same names in the same order"):
        train(tmp_path, **{"model.tasks": ["noisy", "jpeg-compressed", "low-light"]})


class NanHook(Hook):
    """Spoils the loss."""

    def after_loss(self, runner, step, losses):
        losses["loss_restoration"] = losses["loss_restoration"] * float("nan")


def test_loss_that_is_not_finite_ends_the_run(tmp_path):
    runner = StagedRunner.from_cfg(tiny_config(tmp_path))
    runner.register_hook(NanHook())
    with pytest.raises(DtirError, match="loss_restoration is not finite near iteration 2"):
        runner.train()


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision_on_the_cpu_stays_near_float32(tmp_path, amp):
    train(tmp_path / "float32")
    train(tmp_path / amp, **{"optim_wrapper.amp": amp})
    expected, got = last_state(tmp_path / "float32"), last_state(tmp_path / amp)
    for key, value in expected["state_dict"].items():
        torch.testing.assert_close(got["state_dict"][key], value, rtol=0, atol=0.02)
    assert (got["optimizer"]["scaler"] != {}) == (amp == "fp16")


def test_unknown_amp_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"optim_wrapper\.amp must be None, 'bf16' or 'fp16', got 'fp8'"):
        train(tmp_path, **{"optim_wrapper.amp": "fp8"})
