import csv
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from tiny_run import CONFIG, last_state, tiny_config, train

from dtir.apis import RestorationInferencer
from dtir.cli import main
from dtir.core.errors import CheckpointError, ConfigError
from dtir.engine import StagedRunner
from dtir.engine.hooks import BlindTaskHook
from dtir.models.estimator import TaskEstimator
from dtir.registry import RESTORERS
from dtir.testing.stopping import stopped

MATCHING = {"type": "TimestepMatchingHook", "before": "finetune", "num_images": 1, "batch_size": 2}
OPTIONS = {
    "custom_hooks": [MATCHING, {"type": "BlindTaskHook", "width": 8, "lr": 3e-3}],
    "train_cfg.stages": [
        {"name": "pretrain", "iters": 1, "lr": 1e-3, "generative_share": 1.0},
        {"name": "finetune", "iters": 60, "lr": 1e-3, "generative_share": 0.1, "validate": True},
    ],
    "train_cfg.val_interval": 0,
    "default_hooks.checkpoint.interval": 40,
    "train_dataloader.batch_size": 12,
}


@pytest.fixture(scope="module", autouse=True)
def same_bits():
    """On a GPU, cuDNN may sum a convolution's gradients in any order, where it is not told otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.backends.cudnn, "deterministic", True)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("blind")
    train(work_dir, **OPTIONS)
    return work_dir


def test_dark_pictures_are_told_from_the_others(trained, tmp_path):
    inferencer = RestorationInferencer(trained / (trained / "last_checkpoint").read_text())
    rng = np.random.default_rng(0)
    dark = (rng.random((40, 30, 3)) * 0.1).astype(np.float32)
    assert inferencer.estimate_task(dark) == "low-light"
    # Where it is less sure than it has to be, the picture is left.
    inferencer.judge.estimator.least_confidence = 1.0
    assert not inferencer(dark, with_details=True)[1].changed
    inferencer.judge.estimator.least_confidence = 0.0
    found, outcome = inferencer(dark, passes=1, with_details=True)
    assert outcome.task == "low-light"
    assert np.array_equal(found, inferencer.restore_array(dark, task="low-light"))
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "dark.png"), (dark * 255).astype(np.uint8))
    report = inferencer.restore_paths([tmp_path / "in"], tmp_path / "out", task="auto")
    assert len(report.restored) == 1


def test_the_confusion_is_written(trained):
    header, *rows = csv.reader((trained / "report" / "confusion.csv").read_text().splitlines())
    assert header == ["task", "noisy", "low-light", "jpeg-compressed"]
    # One validation picture of each task.
    assert [sum(map(int, row[1:])) for row in rows] == [1, 1, 1]
    assert cv2.imread(str(trained / "report" / "confusion.png")) is not None


def test_the_restorers_training_is_not_touched(trained, tmp_path):
    train(tmp_path, **{**OPTIONS, "custom_hooks": [MATCHING]})
    plain, beside = last_state(tmp_path)["state_dict"], last_state(trained)["state_dict"]
    assert all(torch.equal(value, beside[key]) for key, value in plain.items())


def test_a_resumed_run_ends_with_the_same_estimator(trained, tmp_path):
    runner = StagedRunner.from_cfg(tiny_config(tmp_path, **OPTIONS))
    with stopped(runner, "before_optim_step", 45):
        runner.train()
    train(tmp_path, resume=True, **OPTIONS)
    whole, resumed = (last_state(folder)["estimator"]["state_dict"] for folder in (trained, tmp_path))
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())


def test_a_test_estimates_every_pictures_task(trained, tmp_path):
    checkpoint = trained / (trained / "last_checkpoint").read_text()
    options = {**OPTIONS, "custom_hooks": [{"type": "AutoTaskHook"}], "load_from": str(checkpoint)}
    runner = StagedRunner.from_cfg(tiny_config(tmp_path, **options))
    # Steps by which the tasks can be told apart.
    restore, seen = runner.model.restore, []
    steps = torch.tensor([7, 21, 35], device=next(runner.model.parameters()).device)
    runner.model.restore = lambda lq, t: seen.append((lq, t.tolist())) or restore(lq, t)
    runner.model.timestep_of = lambda task: steps[task]
    runner.test()
    estimator = runner.model.estimator
    assert len(seen) == 3
    for lq, t in seen:
        assert t == [steps[estimator(lq).argmax()].item()]


def test_the_command_line_of_a_test(trained, tmp_path):
    checkpoint = trained / (trained / "last_checkpoint").read_text()
    words = [str(CONFIG), str(checkpoint), "--work-dir", str(tmp_path), "--task", "auto"]
    assert main(["test", *words]) == 0
    assert (tmp_path / "report" / "results.json").is_file()


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (900, 30)])
def test_any_size(size):
    assert TaskEstimator(3, width=4)(torch.rand(2, 3, *size)).shape == (2, 3)


def test_a_checkpoint_without_estimator_says_so(tmp_path):
    train(tmp_path, **{**OPTIONS, "custom_hooks": [], "train_cfg.stages": OPTIONS["train_cfg.stages"][:1]})
    checkpoint = tmp_path / (tmp_path / "last_checkpoint").read_text()
    inferencer = RestorationInferencer(checkpoint)
    auto = {**OPTIONS, "custom_hooks": [{"type": "AutoTaskHook"}], "load_from": str(checkpoint)}
    with pytest.raises(CheckpointError, match="BlindTaskHook"):
        StagedRunner.from_cfg(tiny_config(tmp_path / "test", **auto)).test()
    with pytest.raises(ConfigError, match="BlindTaskHook"):
        inferencer.restore_array(np.zeros((8, 8, 3), np.uint8), task="auto")
    with pytest.raises(ConfigError, match="BlindTaskHook"):
        inferencer.restore_paths([], tmp_path / "out", task="auto")


def test_the_estimator_sees_pictures_in_the_unit_interval():
    """In a validation, where pictures are bytes, as in training, where they are not."""
    seen = []

    class Estimator(torch.nn.Linear):
        classes = ("a", "b", "c")

        def forward(self, lq):
            seen.append(lq)
            return torch.tensor([[0.0, 1.0, 0.0]])

    picture = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1).expand(3, 4, 5)
    hook = BlindTaskHook()
    hook.estimator = Estimator(1, 1)
    hook.before_val_epoch(SimpleNamespace(model=SimpleNamespace(tasks=["a", "b", "c"])))
    hook.after_val_iter(None, 0, outputs=[{"lq": picture, "task": torch.tensor(2)}])
    assert hook.counts[2].tolist() == [0, 1, 0]
    model = RESTORERS.build(Config.fromfile(CONFIG).model)
    model.estimator, model.auto_task = Estimator(1, 1), True
    model.forward([picture], [{"task": 0}], mode="predict")
    for lq in seen:
        torch.testing.assert_close(lq, torch.tensor([0, 0.2, 1.0]).view(1, 3, 1, 1).expand(1, 3, 4, 5))
    assert len(seen) == 2
