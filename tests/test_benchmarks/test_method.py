"""The comparison of the method with plain training: what its runs are."""

from pathlib import Path

import pytest

from benchmarks.method import all_runs, cell, gains, lab_config, pretraining, ten_task_table
from dtir.engine.stages import StagePlan
from dtir.tasks import TASKS

RUNS = all_runs(seeds=2)


def iterations(run, generative_only: bool) -> int:
    config = lab_config(run, Path("unused"))
    plan = StagePlan(config.train_cfg.stages, len(config.model.tasks))
    return sum(s.settings.iters for s in plan if (s.settings.generative_share == 1) == generative_only)


def test_runs_have_folders_of_their_own():
    folders = [run.folder for run in [*RUNS, pretraining(0), pretraining(1)]]
    assert len(set(folders)) == len(folders)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.folder)
def test_every_run_has_the_restoration_steps_that_it_is_compared_at(run):
    plain = next(other for other in RUNS if other.name == "plain")
    expected = iterations(plain, generative_only=False)
    if run.pairs:
        expected = iterations(next(other for other in RUNS if other.pairs == run.pairs), generative_only=False)
    if run.long:
        expected += iterations(pretraining(0), generative_only=True)
    assert iterations(run, generative_only=False) == expected


def test_runs_of_one_task_train_on_their_pairs():
    for run in (run for run in RUNS if run.pairs):
        config = lab_config(run, Path("unused"))
        assert config.model.tasks == [run.task]
        assert [d.data_root for d in config.train_dataloader.dataset.datasets] == [f"train_pairs/{run.pairs}"]


def test_gains_are_taken_at_equal_seeds():
    def result(psnr: float) -> dict:
        return {task: {"PSNR": [psnr - 1, psnr + 1], "SSIM": [0.5]} for task in TASKS}

    full, other = {0: result(20.0), 1: result(26.0)}, {1: result(25.0)}
    assert gains(other, full) == [-1.0]
    assert gains(full, other) == [1.0]
    assert cell([20.0, 26.0]) == "23.00 ± 3.00"
    assert cell([20.0]) == "20.00"
    assert cell([]) == "-"
    row = ten_task_table({"full": full, "other": other}).splitlines()[-1]
    assert row == "| other | 1 | 25.00 | 0.500 | -1.00 |"
