"""Two processes with batches of 4 train as one process with batches of 8."""

import pytest
import torch
from tiny_run import last_state, run_process, train, train_command


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("one_process")
    train(work_dir)
    return last_state(work_dir)


def test_two_processes_equal_one(tmp_path, one_process):
    result = run_process(train_command(tmp_path, "--cfg-options", "train_dataloader.batch_size=4", processes=2))
    assert result.returncode == 0, result.stderr[-3000:]
    two = last_state(tmp_path)
    for name in ("state_dict", "ema_state_dict"):
        for key, value in one_process[name].items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(two[name][key], value, rtol=0, atol=1e-6, msg=lambda m, k=key: f"{k}: {m}")
    assert two["meta"]["best"]["value"] == pytest.approx(one_process["meta"]["best"]["value"], abs=1e-4)


def test_accumulation_equals_one_large_batch(tmp_path, one_process):
    train(tmp_path, **{"train_dataloader.batch_size": 4, "train_cfg.accumulate": 2})
    # Noise and steps of generative samples are drawn per micro-batch, so only a purely restoring run can be equal.
    stages = [{"name": "finetune", "iters": 3, "lr": 1e-3}]
    large, small = tmp_path / "large", tmp_path / "small"
    train(large, **{"train_cfg.stages": stages})
    train(small, **{"train_cfg.stages": stages, "train_dataloader.batch_size": 4, "train_cfg.accumulate": 2})
    for key, value in last_state(large)["state_dict"].items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(last_state(small)["state_dict"][key], value, rtol=0, atol=1e-6)
