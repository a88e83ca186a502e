"""What users bring from outside: a backbone in a file of its own, regularizers, adapters."""

import sys

import pytest
import torch
from mmengine.hooks import Hook
from tiny_run import BARE, CONFIG, PLAIN, built, last_state, tiny_config, train

from dtir.apis.models.build import load_restorer
from dtir.cli import main
from dtir.core.checkpoint import load_checkpoint
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
        "custom_hooks = [dict(type='StageEMAHook'), dict(type='TimestepMatchingHook', num_images=1)]\n"
        "model = dict(network=dict(backbone=dict(_delete_=True, type='UsersNet', width=4)))\n"
        "optim_wrapper = dict(optimizer=dict(weight_decay=0.0))\n"
        "train_cfg = dict(val_interval=100)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["train", str(config), "--work-dir", str(tmp_path / "run")]) == 0
    state = last_state(tmp_path / "run")
    assert state["meta"]["iter"] == 14
    earlier = load_checkpoint(tmp_path / "run" / "iter_12.pth")["ema_state_dict"]
    for name in ("body.0.weight", "tail.weight"):
        key = f"module.network.backbone.{name}"
        assert not torch.equal(state["ema_state_dict"][key], earlier[key])
    assert (state["state_dict"]["matched_t"] >= 0).all()
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
    options = {**BARE, "train_cfg.regularizers": [{"type": "RecordingRegularizer"}]}
    runner = train(tmp_path, **options)
    regularizer = runner.train_loop.regularizers[0]
    names = ["pretrain", "finetune", "incremental_1", "incremental_2", "incremental_3"]
    assert [c[1:] for c in regularizer.calls if c[0] == "before_stage"] == [(name, True) for name in names]
    assert [c[1] for c in regularizer.calls if c[0] == "after_stage"] == names
    assert all(all(c[1]) for c in regularizer.calls if c[0] == "before_optim_step")
    assert regularizer.steps == 14
    assert last_state(tmp_path)["recording"] == {"steps": 14}
    again = train(tmp_path, resume=True, **options)
    assert again.train_loop.regularizers[0].steps == 14


def test_gradient_policy_decides_what_is_learnt(tmp_path):
    stages = [{"name": "pretrain", "iters": 3, "lr": 1e-3, "generative_share": 1.0}]
    options = {"train_cfg.stages": stages, "train_cfg.regularizers": [{"type": "GenerativeOffRegularizer"}]}
    options = {**BARE, **PLAIN, **options}
    initial = StagedRunner.from_cfg(tiny_config(tmp_path / "initial")).model.state_dict()
    trained = train(tmp_path / "policy", **options).model.state_dict()
    assert all(torch.equal(value, initial[key]) for key, value in trained.items())


def test_separate_loss_gradients_train_like_the_sum(tmp_path):
    class KeepRegularizer(Regularizer):
        needs_loss_gradients = True

    REGULARIZERS.register_module(module=KeepRegularizer, force=True)
    stages = [{"name": "pretrain", "iters": 1, "lr": 0.05, "generative_share": 1.0}]
    stages += [{"name": f"mix{share}", "iters": 2, "lr": 0.05, "generative_share": share} for share in (0.25, 0.0)]
    options = {**BARE, **PLAIN, "train_cfg.stages": stages}
    expected = train(tmp_path / "sum", **options).model.state_dict()
    apart = train(tmp_path / "separate", **options, **{"train_cfg.regularizers": [{"type": "KeepRegularizer"}]})
    for key, value in apart.model.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=0, atol=1e-6)


def test_stages_freeze_what_they_do_not_train(tmp_path):
    stages = [{"name": "finetune", "iters": 3, "lr": 1e-2, "trainable": ["network.backbone.tail.*"]}]
    initial = StagedRunner.from_cfg(tiny_config(tmp_path / "initial")).model.state_dict()
    trained = train(tmp_path / "run", **BARE, **{"train_cfg.stages": stages}).model.state_dict()
    changed = {key for key, value in trained.items() if not torch.equal(value, initial[key])}
    assert changed - {"matched_t"} == {"network.backbone.tail.weight", "network.backbone.tail.bias"}
    # Said before the stages in front of it are trained.
    stages.append({**stages[0], "name": "nothing", "trainable": []})
    with pytest.raises(ConfigError, match="stage 'nothing': trainable is empty; expected patterns"):
        built(tmp_path / "none", **{"train_cfg.stages": stages})
    stages[1]["trainable"] = ["network.*", "network.bakcbone.*"]
    with pytest.raises(
        ConfigError, match=r"'network\.bakcbone\.\*', which matches no parameter .*network\.backbone\.\*"
    ):
        built(tmp_path / "typo", **{"train_cfg.stages": stages})


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


@pytest.mark.parametrize(("amp", "clip"), [("bf16", None), ("fp16", None), ("fp16", 0.3)])
def test_mixed_precision_on_the_cpu_stays_near_float32(tmp_path, amp, clip):
    """With plain gradient descent, whose steps show every error of a gradient, beside how far the weights went.

    Clipping is of gradients without the loss scale.
    """
    stages = [{"name": "finetune", "iters": 3, "lr": 0.05, "generative_share": 0.25}]
    options = {**BARE, **PLAIN, "optim_wrapper.clip_grad": clip, "train_cfg.stages": stages}
    before = StagedRunner.from_cfg(tiny_config(tmp_path / "before", **options)).model.state_dict()
    changes = []
    for kind in (None, amp):
        runner = train(tmp_path / str(kind), **options, **{"optim_wrapper.amp": kind})
        changes.append(torch.cat([(p - before[key]).flatten() for key, p in runner.model.state_dict().items()]))
    assert changes[0].norm() > 1e-2
    assert (changes[1] - changes[0]).norm() < (0.05 if amp == "bf16" else 0.02) * changes[0].norm()
    assert (last_state(tmp_path / amp)["optimizer"]["scaler"] != {}) == (amp == "fp16")


def test_unknown_amp_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"optim_wrapper\.amp must be None, 'bf16' or 'fp16', got 'fp8'"):
        train(tmp_path, **{"optim_wrapper.amp": "fp8"})
