"""Parts that do not keep their contract are named before they spoil a training, or its checkpoints."""

import numpy as np
import pytest
import torch
from tiny_run import BARE, built, tiny_config
from torch import nn

from dtir.core.checkpoint import check_plain
from dtir.core.errors import CheckpointError, ConfigError, DatasetError
from dtir.core.stage_hook import StageHook
from dtir.datasets.degradations import Degradation
from dtir.diffusion.schedulers import Scheduler
from dtir.engine import StagedRunner
from dtir.evaluation import PictureMetric
from dtir.models.losses import L1Loss, WeightedLosses, per_sample
from dtir.models.probing import try_scheduler


class Given(nn.Module):
    """A loss that gives what it was made with."""

    def __init__(self, value) -> None:
        super().__init__()
        self.value = value

    def forward(self, pred, target):
        return self.value


@pytest.mark.parametrize(
    ("value", "found"),
    [(torch.ones(()), r"shape \(\)"), (torch.ones(2, 3, 4, 4), r"shape \(2, 3, 4, 4\)"), (0.5, "a float")],
)
def test_a_loss_gives_one_value_for_each_sample(value, found):
    x = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ConfigError, match=f"Given gives {found} for 2 samples; expected one value for each"):
        per_sample(Given(value), x, x)
    assert per_sample(L1Loss(), x, x + 1).tolist() == [1, 1]
    losses = WeightedLosses([{"type": "L1Loss"}])
    losses.parts.append(Given(value))
    losses.weights.append(1.0)
    with pytest.raises(ConfigError, match="Given gives"):
        losses(x, x)


class Measured(PictureMetric):
    name = "Measured"

    def __init__(self, value, name="Measured") -> None:
        super().__init__()
        self.value, self.name = value, name

    def measure(self, picture, gt):
        return self.value


def sample() -> dict:
    picture = torch.zeros(3, 4, 4)
    return {"pred": picture, "lq": picture.byte(), "gt": picture.byte(), "task_name": "noisy", "name": "a"}


@pytest.mark.parametrize(("value", "found"), [(torch.ones(()), r"shape \(\)"), ([1.0], "a list")])
def test_a_metric_gives_one_value_for_each_picture(value, found):
    with pytest.raises(ConfigError, match=f"Measured.measure gives {found} for one picture"):
        Measured(value).process({}, [sample()])
    with pytest.raises(ConfigError, match="Measured has no `name`"):
        Measured(torch.ones(1), name="").process({}, [sample()])
    metric = Measured(torch.full((1,), 3.0))
    metric.process({}, [sample()])
    assert metric.evaluate(1) == {"noisy/Measured": 3.0, "average/Measured": 3.0}


def test_two_metrics_of_one_name_are_found_before_the_training(tmp_path):
    metrics = [{"type": "PSNR"}, {"type": "SSIM"}, {"type": "PSNR", "protocol": "y"}]
    with pytest.raises(ConfigError, match="two metrics of one evaluator are called 'PSNR'"):
        StagedRunner.from_cfg(tiny_config(tmp_path, val_evaluator=metrics)).val_loop  # noqa: B018


class Damage(Degradation):
    def __init__(self, change) -> None:
        self.change = change

    def degrade(self, image, rng, severity):
        return self.change(image)


def test_a_degradation_gives_a_picture_of_numbers():
    image, rng = np.full((6, 4, 3), 0.5, np.float32), np.random.default_rng(0)
    with pytest.raises(DatasetError, match=r"Damage.degrade gives shape \(3, 4, 3\) for a picture \(6, 4, 3\)"):
        Damage(lambda x: x[::2])(image, rng, 0.5)
    with pytest.raises(DatasetError, match=r"Damage.degrade gives NaN at severity 0.5"):
        Damage(lambda x: x * np.nan)(image, rng, 0.5)
    assert Damage(lambda x: x * 3)(image, rng, 0.5).max() == 1


class Flat(Scheduler):
    def marginal(self, t):
        share = torch.as_tensor(t).float() / 20
        return 1 - share, share


def test_a_process_gives_values_of_a_batch_of_pictures():
    with pytest.raises(ConfigError, match=r"scheduler Flat: marginal of 2 steps gives \(2,\), \(2,\); expected"):
        try_scheduler(Flat(10))


class Term(StageHook):
    def __init__(self, value) -> None:
        self.value = value

    def after_loss(self, runner, step, losses):
        losses["own"] = self.value


@pytest.mark.parametrize(("value", "found"), [(0.5, "is a float"), (torch.ones(3), r"has shape \(3,\)")])
def test_a_term_of_the_loss_is_a_scalar(tmp_path, value, found):
    runner = built(tmp_path, **BARE)
    runner.register_hook(Term(value))
    with pytest.raises(ConfigError, match=f"the loss 'own' {found}; the restorer and after_loss have to give scalar"):
        runner.train()


class Keeper(StageHook):
    def before_save_checkpoint(self, runner, checkpoint):
        checkpoint["kept"] = {"values": [1, np.float64(2)]}


def test_a_checkpoint_that_could_not_be_read_again_is_not_written(tmp_path):
    runner = built(tmp_path, **BARE)
    runner.register_hook(Keeper())
    with pytest.raises(CheckpointError, match=r"checkpoint\['kept'\]\['values'\]\[1\] is a numpy.float64, which could"):
        runner.train()
    assert not list(tmp_path.glob("*.pth"))
    check_plain({"a": [torch.ones(1), 1, 2.0, "x", None, (True, b"x")], 3: torch.float32})
