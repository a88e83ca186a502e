"""A training in small: what is shortened, and what the whole would take."""

import os
import signal
from pathlib import Path

import torch
from mmengine.config import Config
from tiny_run import CONFIG, tiny_config

from dtir import cli
from dtir.core.stage_hook import StageHook
from dtir.engine.smoke import ODD_SIZE, SmokeHook, StageCost, _cropped, plan_text, smoke_config
from dtir.engine.stages import StagePlan

STAGES = [
    {"name": "pretrain", "iters": 400, "lr": 1e-3, "warmup_iters": 50},
    {"name": "finetune", "iters": 2, "lr": 1e-3, "validate": True},
    {"name": "incremental", "iters": [7, 8, 9], "lr": 1e-3, "per_task": True},
]


def config(tmp_path: Path) -> Config:
    cfg = tiny_config(tmp_path)
    cfg.train_cfg.stages = STAGES
    cfg.train_cfg.regularizers = [{"type": "dtir.ParameterImportance"}]
    cfg.train_dataloader.num_workers = 4
    cfg.train_dataloader.prefetch_factor = 2
    return cfg


def test_every_stage_is_kept_and_short(tmp_path):
    cfg = config(tmp_path)
    small = smoke_config(cfg)

    plan = list(StagePlan(small.train_cfg.stages, 3))
    assert [stage.settings.iters for stage in plan] == [3, 2, 2, 2, 2]
    assert [stage.name for stage in plan] == [stage.name for stage in StagePlan(STAGES, 3)]
    assert small.train_dataloader.num_workers == 0
    assert "prefetch_factor" not in small.train_dataloader
    assert small.train_cfg.regularizers[0].num_samples == 4
    assert small.custom_hooks[1].num_images == 2
    # 64 samples in place of 4.
    assert small.custom_hooks[-1] == {"type": "SmokeHook", "factor": 16.0}
    assert cfg.train_cfg.stages == STAGES


def test_costs_are_those_of_the_whole_training():
    hook = SmokeHook(factor=8)
    hook.times = {"pretrain": [9.0, 0.5, 0.6], "finetune": [1.0], **{f"incremental_{k}": [2.0] for k in (1, 2, 3)}}
    hook.preparation = dict.fromkeys(hook.times, 0.25)

    costs = hook.costs(StagePlan(STAGES, 3))

    assert costs[0] == StageCost("pretrain", 400, 0.5, 2.0)
    assert [cost.seconds for cost in costs] == [202.0, 4.0, 16.0, 18.0, 20.0]


def test_the_plan_in_words(tmp_path):
    (tmp_path / "iter_9.pth").write_bytes(bytes(2**20))

    text = plan_text([StageCost("a", 1_000, 3.6, 0), StageCost("finetune", 500, 7.2, 60)], tmp_path, 3, 12, 1_000)

    assert "a              1,000        3.600       1:00:00" in text
    assert "all            1,500                    2:01:00" in text
    assert "3 x 1.0 MiB, 0.00293 GiB in all" in text
    assert "Validations: 12, of 1,000 pictures each; their time is not counted." in text


def test_validations_are_counted():
    plan = StagePlan(STAGES, 3)
    # At 402, 426, and each 100.
    assert plan.validations(100) == 6
    assert plan.validations(0) == 2
    assert [n for n in range(1, 427) if plan.validates_after(n, 213)] == [213, 402, 426]


def test_a_plan_says_what_the_whole_takes_and_nothing_of_the_run_that_measured_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", str(CONFIG), "--plan"]) == 0

    said = capsys.readouterr().out
    assert said.startswith("In full, at the speed measured here:\n")
    assert "PSNR" not in said
    assert list(tmp_path.iterdir()) == []


class InterruptedOnce(StageHook):
    def before_optim_step(self, runner, step):
        os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_plan_says_nothing_of_the_whole(interruptible, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.py"
    path.write_text(f"_base_ = '{CONFIG}'\ncustom_hooks = [dict(type='{__name__}.InterruptedOnce')]\n")
    assert cli.main(["train", str(path), "--plan"]) == 130

    assert capsys.readouterr().out == ""


def test_validation_pictures_are_odd_sized():
    item = {"inputs": torch.zeros(3, 200, 300), "data_samples": {"gt": torch.zeros(3, 200, 300), "name": "a"}}

    cropped = _cropped(item)

    assert cropped["inputs"].shape[1:] == cropped["data_samples"]["gt"].shape[1:] == ODD_SIZE
    assert all(side % 2 for side in ODD_SIZE)
    assert item["inputs"].shape == (3, 200, 300)
