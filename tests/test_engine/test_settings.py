"""The configs of the paper's settings: what they train and test on, and for how long."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from tiny_run import train

from dtir.cli.launching import load_config
from dtir.core.errors import ConfigError
from dtir.datasets.benchmarks import BENCHMARKS
from dtir.engine.stages import StagePlan
from dtir.tasks import TASKS, row_name

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
PREPARED = {part.folder for benchmark in BENCHMARKS.values() for part in benchmark.parts}
NETWORKS = ("dtir_unet", "nafnet", "promptir", "restormer", "x_restormer")

# Trained on, tested on, and the rows of further test sets with their folders.
SETTING_A = {
    "dehazing": ("train/hazy", "val/hazy", {"hazy@REVIDE": "generalization/REVIDE"}),
    "deraining": ("train/rainy-light", "generalization/Rain100L", {"rainy@Rain100H": "val/rainy"}),
    "desnowing": ("train/snowy", "val/snowy", {"snowy@RealSnow": "generalization/RealSnow"}),
    "low_light": (
        "train/low-light",
        "val/low-light",
        {
            "low-light@LOL-v2-real": "generalization/LOL-v2-real",
            "low-light@LOL-v2-synthetic": "generalization/LOL-v2-synthetic",
        },
    ),
}


def roots(loader) -> dict[str, str]:
    """Folders of a loader's data by the name of their row."""
    assert {part.type for part in loader.dataset.datasets} == {"PairedDataset"}
    return {row_name(part.task, part.get("test_set", "")): part.data_root for part in loader.dataset.datasets}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", SETTING_A)
def test_setting_a_is_that_of_the_paper(name, network):
    config = load_config(CONFIGS / "dtir" / f"{network}_{name}.py")
    train, val, others = SETTING_A[name]
    (task,) = config.model.tasks
    assert roots(config.train_dataloader) == {task: train}
    assert roots(config.val_dataloader) == {task: val}
    assert roots(config.test_dataloader) == {task: val, **others}
    assert {train, val, *others.values()} <= PREPARED
    assert StagePlan(config.train_cfg.stages, 1).max_iters == 800_000


def printed(name: str) -> Config:
    """The config as tools/analysis/print_config.py prints it."""
    spec = importlib.util.spec_from_file_location("print_config", ROOT / "tools" / "analysis" / "print_config.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Config.fromstring(module.describe(str(CONFIGS / name), []), ".py")


def test_setting_b_is_that_of_the_paper():
    config = printed("dtir/x_restormer_10task.py")
    assert list(config.model.tasks) == list(TASKS)
    assert roots(config.train_dataloader) == {task: f"train/{task}" for task in TASKS}
    assert roots(config.test_dataloader) == roots(config.val_dataloader) == {task: f"val/{task}" for task in TASKS}
    assert {f"{split}/{task}" for split in ("train", "val") for task in TASKS} <= PREPARED
    assert {part.patch for part in config.train_dataloader.dataset.datasets} == {128}
    assert 8 * config.train_dataloader.batch_size == 16
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, tuple(optimizer.betas)) == ("Adam", 5e-5, (0.9, 0.999))
    stages = list(StagePlan(config.train_cfg.stages, len(TASKS)))
    assert [stage.settings.iters for stage in stages] == [500_000, 300_000] + 10 * [100_000]
    assert {(stage.settings.lr, stage.settings.schedule) for stage in stages} == {(5e-5, "cosine")}
    assert [stage.settings.generative_share for stage in stages] == [1.0] + 11 * [0.1]
    assert [stage.settings.tasks for stage in stages][2:] == list(range(1, 11))


@pytest.mark.parametrize("name", ["dtir/x_restormer_10task.py", "dtir/x_restormer_dehazing.py"])
def test_lpips_is_part_of_the_test_and_not_of_the_training(name):
    config = load_config(CONFIGS / name)
    kinds = [metric.type for metric in config.val_evaluator]
    assert "LPIPS" not in kinds
    assert [metric.type for metric in config.test_evaluator] == [*kinds, "LPIPS"]


def test_published_recipes_keep_the_sets_they_are_published_for():
    for name in ("baselines/prenet_deraining.py", "diffusion/irsde_deraining.py"):
        config = load_config(CONFIGS / name)
        assert roots(config.train_dataloader) == {"rainy": "train/rainy"}
        assert roots(config.test_dataloader) == {"rainy": "val/rainy"}
        assert "LPIPS" not in [metric.type for metric in config.test_evaluator]


def test_a_training_takes_no_test_sets(tmp_path):
    for side in ("LQ", "GT"):
        (tmp_path / side).mkdir()
        cv2.imwrite(str(tmp_path / side / "a.png"), np.zeros((20, 20, 3), np.uint8))
    rows = [("noisy", ""), ("low-light", ""), ("jpeg-compressed", ""), ("noisy", "Other")]
    datasets = [dict(type="PairedDataset", task=t, data_root=str(tmp_path), patch=16, test_set=s) for t, s in rows]
    with pytest.raises(ConfigError, match="4 datasets of 3 tasks: a training set is one per task"):
        train(tmp_path / "run", **{"train_dataloader.dataset.datasets": datasets})
