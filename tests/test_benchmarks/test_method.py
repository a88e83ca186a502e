"""The comparison of the method with plain training: what its runs are."""

import json
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from benchmarks import method
from benchmarks.method import centre
from benchmarks.method_runs import ABLATIONS, REFERENCE, all_runs, estimator, lab_config, prepare, pretraining
from benchmarks.method_tables import cell, compared, print_tables, seed_table, ten_task_table
from dtir.engine.stages import StagePlan
from dtir.evaluation.statistics import difference_interval
from dtir.tasks import TASKS

RUNS = all_runs(seeds=2)


def iterations(run, generative_only: bool) -> int:
    config = lab_config(run, Path("unused"))
    plan = StagePlan(config.train_cfg.stages, len(config.model.tasks))
    return sum(s.settings.iters for s in plan if (s.settings.generative_share == 1) == generative_only)


def test_ablations_have_the_seeds_of_the_rows_up_to_three():
    for seeds, expected in ((1, 1), (3, 3), (5, 3)):
        runs = [run for run in all_runs(seeds) if run.name.startswith("w/o ")]
        assert [sum(run.name == f"w/o {part}" for run in runs) for part in ABLATIONS] == [expected] * len(ABLATIONS)
        assert {run.seed for run in runs} == set(range(expected))


def test_runs_have_folders_of_their_own():
    folders = [run.folder for run in [*RUNS, pretraining(0), pretraining(1)]]
    assert len(set(folders)) == len(folders)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.folder)
def test_every_run_has_the_restoration_steps_that_it_is_compared_at(run):
    plain = next(other for other in RUNS if other.name == "plain")
    expected = iterations(plain, generative_only=False)
    if run.long:
        expected += iterations(pretraining(0), generative_only=True)
    if run.name == "brief":
        expected += iterations(pretraining(0), generative_only=True) - iterations(run, generative_only=True)
    assert iterations(run, generative_only=False) == expected


def test_the_estimator_trains_by_itself_on_the_data_of_the_networks_and_on_grounds():
    run = estimator(0)
    config, other = prepare(run, Path("unused")), lab_config(next(r for r in RUNS if r.name == "told"), Path("unused"))
    assert config.model.type == "TaskClassifier"
    sets, expected = ({d.task: d for d in c.train_dataloader.dataset.datasets} for c in (config, other))
    grounds = {task: mixture.datasets[1] for task, mixture in sets.items() if mixture.type == "MixtureDataset"}
    found = {task: sets[task].datasets[0] if task in grounds else sets[task] for task in sets}
    assert {task: d.data_root for task, d in found.items()} == {task: d.data_root for task, d in expected.items()}
    assert {d.draw for d in grounds.values()} == {"DrawGround"}
    assert "shadowed" in grounds
    assert [(s.name, s.iters) for s in config.train_cfg.stages] == [("estimator", 2000)]
    assert run.folder not in {r.folder for r in RUNS}


def result(*psnr: float) -> dict:
    return {task: {"PSNR": list(psnr), "SSIM": [0.5], "input": [18.0] * len(psnr)} for task in TASKS}


def test_rows_are_compared_at_equal_seeds():
    told, other = {0: result(20.0, 22.0), 1: result(26.0, 28.0)}, {1: result(25.0, 27.0)}
    assert compared(other, told) == "-1.00 [-1.00, -1.00]"
    assert compared(told, other) == "+1.00 [+1.00, +1.00]"
    assert compared(told, told) == "-"
    row = ten_task_table({REFERENCE: told, "other": other}).splitlines()[-1]
    assert row == "| other | 1 | 26.00 | 0.500 | -1.00 [-1.00, -1.00] | +7.0 |"


def test_a_cell_has_the_standard_deviation_over_the_seeds():
    assert cell([20.0, 26.0]) == "23.00 ± 4.24"
    assert cell([20.0]) == "20.00"
    assert cell([]) == "-"


def test_the_interval_is_that_of_the_pictures():
    rng = np.random.default_rng(1)
    noise = {task: rng.normal(0.3, 1.0, 50) for task in ("a", "b")}
    zero = {task: np.zeros(50) for task in noise}
    low, high = difference_interval(noise, zero)
    centre = np.mean([values.mean() for values in noise.values()])
    # Two tasks of 50 pictures: the mean has a standard error of the spread over ten.
    error = np.sqrt(sum(values.var() / 50 for values in noise.values())) / 2
    np.testing.assert_allclose([low, high], [centre - 1.96 * error, centre + 1.96 * error], atol=0.02)


def test_the_centre_is_what_is_measured():
    rgb = np.arange(5 * 8 * 3).reshape(5, 8, 3)
    np.testing.assert_array_equal(centre(rgb, 4), rgb[0:4, 2:6])
    assert centre(rgb, None) is rgb


def test_differences_by_seed_with_an_interval_over_them():
    def of(noisy: float, others: float) -> dict:
        return {task: {"PSNR": [noisy if task == "noisy" else others]} for task in TASKS}

    told = {seed: of(20.0, 20.0) for seed in range(3)}
    better = {seed: of(20.0 + gain, 20.0) for seed, gain in enumerate((1.0, 2.0, 3.0))}
    rows = seed_table({REFERENCE: told, "better": better, "two seeds": {0: of(9.0, 9.0), 1: of(9.0, 9.0)}}).splitlines()
    assert rows[2:] == ["| better | +0.10, +0.20, +0.30 | +0.20 ± 0.25 | +2.00 ± 2.48 | +0.00 ± 0.00 |"]
    rows = seed_table({REFERENCE: told, "better": better}, against="better").splitlines()
    assert rows[2:] == [f"| {REFERENCE} | -0.10, -0.20, -0.30 | -0.20 ± 0.25 | -2.00 ± 2.48 | +0.00 ± 0.00 |"]


def test_each_ablation_is_tabulated_beside_the_whole_method(tmp_path, capsys):
    def of(value: float) -> dict:
        sets = (*TASKS, "Rain100L", "REVIDE")
        return {name: {"PSNR": [value], "SSIM": [0.5], "input": [18.0]} for name in sets}

    for run in all_runs(3):
        gain = {"full": 0.0, "w/o moe": run.seed - 1.0, "w/o tit": 5.0}.get(run.name)
        if gain is not None and (run.name, run.seed) != ("w/o tit", 2):
            path = tmp_path / run.folder / "results.json"
            path.parent.mkdir()
            path.write_text(json.dumps(of(20.0 + gain)))
            path.with_name("results_blind.json").write_text(json.dumps(of(10.0)))
    print_tables(tmp_path, 3)
    _, ablations, by_seed, _ = capsys.readouterr().out.strip().split("\n\n")
    rows = [row for row in ablations.splitlines() if row.startswith("| w/o")]
    assert rows == [
        "| w/o tit | 2 | 25.00 ± 0.00 | 0.500 ± 0.000 | +5.00 [+5.00, +5.00] | +7.0 |",
        "| w/o moe | 3 | 20.00 ± 1.00 | 0.500 ± 0.000 | +0.00 [+0.00, +0.00] | +1.0 |",
    ]
    # Two seeds are too few for an interval; what is blind is no ablation of the method that is told.
    assert by_seed.splitlines()[2:] == [
        "| w/o moe | -1.00, +0.00, +1.00 | +0.00 ± 2.48 | +0.00 ± 2.48 | +0.00 ± 2.48 |"
    ]


def test_a_pre_training_can_be_run_by_itself(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(method, "carry_out", lambda run, out, threads: done.append((run.name, run.seed)))
    monkeypatch.setattr(method.concurrent.futures, "ProcessPoolExecutor", ThreadPoolExecutor)
    asked = {"out": tmp_path, "seeds": 2, "jobs": 1, "settings": method.LAB}
    method.run_all(Namespace(**asked, only=["pretrain"]))
    assert sorted(done) == [("pretrain", 0), ("pretrain", 1)]
