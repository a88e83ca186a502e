import csv
import math

import cv2
import pytest
from tiny_run import last_state, tiny_config, train

from dtir.engine import StagedRunner
from dtir.evaluation.reports import write_forgetting
from dtir.evaluation.reports.forgetting import forgotten
from dtir.testing.stopping import stopped

HOOKS = [
    {"type": "TimestepMatchingHook", "before": "finetune", "num_images": 1, "batch_size": 2},
    {"type": "ForgettingHook"},
]
OPTIONS = {
    "custom_hooks": HOOKS,
    "train_cfg.val_interval": 3,
    "train_cfg.stages": [
        {"name": "pretrain", "iters": 2, "lr": 1e-3, "generative_share": 1.0},
        {"name": "finetune", "iters": 4, "lr": 1e-3, "generative_share": 0.25, "validate": True},
        {"name": "incremental", "iters": 2, "lr": 1e-3, "generative_share": 0.1, "per_task": True, "validate": True},
    ],
}


def rows(work_dir) -> list[list[str]]:
    return list(csv.reader((work_dir / "report" / "forgetting.csv").read_text().splitlines()))


def test_every_task_after_every_validated_stage(tmp_path):
    runner = train(tmp_path, **OPTIONS)
    header, *body = rows(tmp_path)
    assert header == ["stage", "noisy", "low-light", "jpeg-compressed"]
    # Validations within a stage leave no row.
    assert [row[0] for row in body] == ["finetune", "incremental_1", "incremental_2", "incremental_3", "forgotten"]
    last = runner.val_loop.run()
    assert float(body[3][1]) == pytest.approx(last["noisy/PSNR"], abs=0.006)
    picture = cv2.imread(str(tmp_path / "report" / "forgetting.png"))
    assert picture is not None
    assert picture.std() > 10


def test_a_resumed_run_goes_on_with_the_matrix(tmp_path):
    train(tmp_path / "whole", **OPTIONS)
    runner = StagedRunner.from_cfg(tiny_config(tmp_path / "stopped", **OPTIONS))
    with stopped(runner, "before_optim_step", 9):
        runner.train()
    train(tmp_path / "stopped", resume=True, **OPTIONS)
    assert rows(tmp_path / "stopped") == rows(tmp_path / "whole")
    assert last_state(tmp_path / "whole")["forgetting"] == last_state(tmp_path / "stopped")["forgetting"]


def test_forgotten_is_best_minus_last(tmp_path):
    stages = {"one": {"a": 20.0}, "two": {"a": 25.0, "b": 10.0}, "three": {"a": 22.0, "b": 12.0}}
    assert forgotten(stages, "a") == 3
    assert forgotten(stages, "b") == 0
    assert math.isnan(forgotten(stages, "c"))
    write_forgetting(tmp_path, stages, ["a", "b", "c"], "a title")
    text = (tmp_path / "forgetting.md").read_text()
    assert "| one | 20.00 | - | - |" in text
    assert "| forgotten | 3.00 | 0.00 | - |" in text
