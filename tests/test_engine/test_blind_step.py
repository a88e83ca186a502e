"""The estimator of task and step together, from the samples' own steps to `--t auto`."""

import re

import cv2
import numpy as np
import pytest
import torch
from tiny_run import BARE, last_state, train

from dtir.apis import RestorationInferencer
from dtir.apis.models.files import write_model_file
from dtir.cli import main
from dtir.core.errors import CheckpointError, ConfigError, TaskError
from dtir.engine.hooks.blind_task import estimator_of, own_and_task_loss, step_places
from dtir.models.estimator import TaskEstimator


def dataset(task, **options):
    files = ["chelsea.png", "rocket.jpg"]
    return {"type": "SyntheticDataset", "task": task, "data_root": "asset://photos", "files": files} | options


def mixture(task, first, last):
    """Damage from mild to heavy at the steps of a band, and a tenth of clean pictures at step 0."""
    damaged = dataset(task, patch=16, severity=(0.1, 1.0), severity_steps=[(0.1, first), (1.0, last)])
    clean = dataset(task, patch=16, degradation="NoDamage", severity=0.0, severity_steps=[(0.0, 0)])
    return {"type": "MixtureDataset", "task": task, "datasets": [damaged, clean], "shares": [0.9, 0.1]}


OPTIONS = {
    "custom_hooks": [{"type": "BlindTaskHook", "width": 8, "lr": 3e-3}],
    "train_cfg.stages": [{"name": "train", "iters": 60, "lr": 1e-3, "validate": True}],
    "train_cfg.val_interval": 0,
    "default_hooks.checkpoint.interval": 50,
    "train_dataloader.batch_size": 12,
    "train_dataloader.dataset.datasets": [
        mixture("noisy", 11, 15),
        mixture("low-light", 21, 25),
        dataset("jpeg-compressed", patch=16, severity=0.9),
    ],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("blind_step")
    train(work_dir, **OPTIONS)
    return work_dir / (work_dir / "last_checkpoint").read_text()


@pytest.fixture
def inferencer(trained):
    return RestorationInferencer(trained, device="cpu")


def noisy(strength):
    rng = np.random.default_rng(0)
    return np.clip(0.5 + strength * rng.standard_normal((48, 40, 3)), 0, 1).astype(np.float32)


def test_the_classes_are_the_tasks_and_clean(inferencer):
    estimator = inferencer.judge.estimator
    assert estimator.classes == ("noisy", "low-light", "jpeg-compressed", "clean")
    assert estimator.steps == {"noisy": (0, 11, 12, 13, 14, 15), "low-light": (0, 21, 22, 23, 24, 25)}


def test_the_step_rises_with_the_noise_within_the_band_of_the_task(inferencer):
    outcomes = [inferencer(noisy(s), "noisy", "auto", with_details=True)[1] for s in (0.02, 0.3)]
    mild, heavy = ((outcome.step or 0) for outcome in outcomes)
    assert mild < heavy
    assert 11 <= heavy <= 15
    assert outcomes[1].task == "noisy"
    assert outcomes[1].confidence is None


def test_a_heavy_damage_is_restored_at_the_estimated_step(inferencer):
    picture = noisy(0.3)
    found, outcome = inferencer(picture, "noisy", "auto", with_details=True)
    assert np.array_equal(found, inferencer.restore_array(picture, t=outcome.step))


def test_task_and_step_are_estimated_together(inferencer):
    inferencer.judge.estimator.least_confidence = 0.0
    dark = noisy(0.2) * np.float32(0.06)
    for task in (None, "auto"):
        outcome = inferencer(dark, task, "auto", passes=1, with_details=True)[1]
        assert outcome.task == "low-light"
        assert outcome.step in range(21, 26)


def test_an_estimated_task_without_steps_of_its_own_is_restored_at_the_tasks_step(inferencer):
    inferencer.restorer.set_matched_t({"jpeg-compressed": 31})
    inferencer.judge.estimator.forward = lambda lq: torch.tensor([[0.0, 0.0, 9.0, 0.0]])
    outcome = inferencer(noisy(0.1), None, "auto", passes=1, with_details=True)[1]
    assert (outcome.task, outcome.step) == ("jpeg-compressed", 31)


def test_a_picture_of_step_0_is_left_as_it_is(inferencer):
    inferencer.judge.estimator.step_of = lambda picture, task: 0
    for task in ("noisy", "auto"):
        inferencer.judge.estimator.least_confidence = 0.0
        found, outcome = inferencer(noisy(0.3), task, "auto", with_details=True)
        assert not outcome.changed
        assert np.array_equal(found, noisy(0.3))
    assert str(inferencer(noisy(0.3), "noisy", "auto", with_details=True)[1]) == "left as it is: nothing to do"


def test_a_model_file_holds_the_steps(inferencer, tmp_path):
    write_model_file(tmp_path / "model.safetensors", inferencer.restorer, half=False)
    again = RestorationInferencer(tmp_path / "model.safetensors", device="cpu").judge.estimator
    x = torch.rand(1, 3, 32, 32)
    assert all(map(torch.equal, again.both(x), inferencer.judge.estimator.both(x)))
    assert again.steps == inferencer.judge.estimator.steps


def test_the_confusion_has_the_clean_class(trained):
    header = (trained.parent / "report" / "confusion.csv").read_text().splitlines()[0]
    assert header == "task,noisy,low-light,jpeg-compressed,clean"


def test_a_task_whose_samples_had_no_steps_is_named(inferencer):
    with pytest.raises(ConfigError, match="of task 'jpeg-compressed' had no time steps of their own"):
        inferencer.restore_array(noisy(0.1), "jpeg-compressed", "auto")
    with pytest.raises(TaskError, match="Did you mean 'noisy'"):
        inferencer.restore_array(noisy(0.1), "nosy", "auto")
    with pytest.raises(ConfigError, match="use a whole number"):
        inferencer.timestep(t="auto")


def test_a_test_leaves_what_is_taken_for_clean(inferencer):
    restorer, picture = inferencer.restorer, (torch.rand(3, 20, 24) * 255).to(torch.uint8)
    restorer.auto_task = True
    restorer.estimator.forward = lambda lq: torch.tensor([[0.0, 0.0, 0.0, 9.0]])
    (sample,) = restorer.forward([picture], [{"task": 0}], mode="predict")
    torch.testing.assert_close(sample["pred"], picture / 255)


def test_the_command_line_estimates_the_step(trained, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "a.png"), (noisy(0.3) * 255).astype(np.uint8))
    words = ["restore", str(tmp_path / "a.png"), "--model", str(trained), "--out", str(tmp_path / "out")]
    assert main([*words, "--task", "noisy", "--t", "auto"]) == 0
    assert re.search(r"a\.png: noisy, step 1[1-5]\n", capsys.readouterr().out)
    assert main([*words, "--task", "jpeg-compressed", "--t", "auto"]) == 2
    assert "had no time steps of their own" in capsys.readouterr().err


def test_an_estimator_that_does_not_fit_begins_anew_and_is_not_resumed(trained, tmp_path, capsys):
    plain = [dataset(task, patch=16) for task in ("noisy", "low-light", "jpeg-compressed")]
    options = {
        **OPTIONS,
        "train_dataloader.dataset.datasets": plain,
        "load_from": str(trained.with_name("iter_50.pth")),
    }
    with pytest.raises(CheckpointError, match="resume with the config that it was begun with"):
        train(tmp_path, **options, resume=True)
    stages = [{"name": "train", "iters": 1, "lr": 1e-3}]
    train(tmp_path, **{**options, **BARE, "custom_hooks": OPTIONS["custom_hooks"], "train_cfg.stages": stages})
    assert "it begins anew" in capsys.readouterr().out
    assert "step_head.bias" not in last_state(tmp_path)["estimator"]["state_dict"]


def test_without_steps_an_estimator_is_what_it_was(tmp_path):
    old = {**OPTIONS, "train_dataloader.dataset.datasets": [dataset(t, patch=16) for t in ("noisy", "low-light")]}
    stages = [{"name": "train", "iters": 1, "lr": 1e-3}]
    settings = {"model.tasks": ["noisy", "low-light"], "train_cfg.stages": stages}
    train(tmp_path, **{**old, **BARE, **settings, "custom_hooks": OPTIONS["custom_hooks"]})
    state = last_state(tmp_path)
    assert set(state["estimator"]) == {"state_dict", "optimizer", "width"}
    estimator = estimator_of(state, ("noisy", "low-light"))
    assert estimator.step_head is None
    assert "steps" not in estimator.settings()
    inferencer = RestorationInferencer(tmp_path / (tmp_path / "last_checkpoint").read_text(), device="cpu")
    with pytest.raises(ConfigError, match="time steps of their own"):
        inferencer.restore_array(noisy(0.1), "noisy", "auto")


def test_places_are_even_among_the_steps_and_not_between_them():
    estimator = TaskEstimator(2, 4, ("a", "clean"), steps={"a": (0, 11, 12, 13, 14)})
    assert [estimator.place("a", t) for t in (0, 11, 14, 5)] == [-1, -0.5, 1, -0.5]
    assert TaskEstimator(1, 4, ("a",), steps={"a": (7,)}).place("a", 7) == -1
    with torch.no_grad():
        estimator.step_head.weight.zero_()
        for place, step in ((-0.4, 11), (-9.0, 0), (9.0, 14)):
            estimator.step_head.bias.fill_(place)
            assert estimator.step_of(torch.rand(1, 3, 20, 20), "a") == step


def test_the_loss_is_that_of_class_and_place_where_there_are_such():
    estimator = TaskEstimator(3, 4, ("a", "b", "clean"), steps={"b": (0, 5, 6)})
    lq, task, step = torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 1, 1]), torch.tensor([-1, 6, 0, -1])
    logits, places = estimator.both(lq)
    expected = -logits.log_softmax(1)[range(4), [0, 1, 2, 1]].sum()
    expected = expected + (places[1, 0] - 1) ** 2 + (places[2, 0] + 1) ** 2
    torch.testing.assert_close(
        own_and_task_loss(estimator, lq, task, step, step_places(estimator, ("a", "b"))), expected
    )
