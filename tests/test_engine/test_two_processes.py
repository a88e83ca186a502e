"""Two processes with batches of 4 train as one process with batches of 8."""

import os
import sys

import pytest
import torch
from tiny_run import CONFIG, last_state, run_process, train, train_command


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("one_process")
    train(work_dir)
    return last_state(work_dir)


POLICY = """
from dtir.registry import REGULARIZERS
from dtir.regularizers import Regularizer


@REGULARIZERS.register_module()
class KeepAsTheyAre(Regularizer):
    needs_loss_gradients = True
"""


def assert_close_states(first: dict, second: dict) -> None:
    for name in ("state_dict", "ema_state_dict"):
        for key, value in first[name].items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(
                    second[name][key], value, rtol=0, atol=1e-6, msg=lambda m, k=key: f"{k}: {m}"
                )


def test_two_processes_equal_one(tmp_path, one_process):
    result = run_process(train_command(tmp_path, "--cfg-options", "train_dataloader.batch_size=4", processes=2))
    assert result.returncode == 0, result.stderr[-3000:]
    two = last_state(tmp_path)
    assert_close_states(one_process, two)
    assert two["meta"]["best"]["value"] == pytest.approx(one_process["meta"]["best"]["value"], abs=1e-4)


def test_two_processes_with_separate_loss_gradients_equal_one(tmp_path, one_process, monkeypatch):
    (tmp_path / "keep_policy.py").write_text(POLICY)
    config = tmp_path / "policy_config.py"
    config.write_text(
        f"_base_ = {str(CONFIG)!r}\n"
        "custom_imports = dict(imports=['dtir.testing', 'keep_policy'])\n"
        "train_cfg = dict(regularizers=[dict(type='KeepAsTheyAre')])\n"
        "train_dataloader = dict(batch_size=4)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    command = train_command(tmp_path / "run", processes=2)
    command[command.index(str(CONFIG))] = str(config)
    result = run_process(command)
    assert result.returncode == 0, result.stderr[-3000:]
    assert_close_states(one_process, last_state(tmp_path / "run"))


def test_accumulation_equals_one_large_batch(tmp_path):
    # Noise and steps of generative samples are drawn per micro-batch, so only a purely restoring run can be equal.
    stages = [{"name": "finetune", "iters": 3, "lr": 1e-3}]
    large, small = tmp_path / "large", tmp_path / "small"
    train(large, **{"train_cfg.stages": stages})
    train(small, **{"train_cfg.stages": stages, "train_dataloader.batch_size": 4, "train_cfg.accumulate": 2})
    for key, value in last_state(large)["state_dict"].items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(last_state(small)["state_dict"][key], value, rtol=0, atol=1e-6)
