"""Errors of parts that cannot be built name the part's place in the config."""

from pathlib import Path

import pytest
import torch

from dtir.cli import EXIT_ERROR, main
from dtir.config.blame import blamed
from dtir.core.errors import ConfigError, TaskError
from dtir.registry import BACKBONES, DATASETS, LOSSES, RESTORERS

TINY = Path(__file__).parents[1] / "configs" / "tiny_3task.py"


class Odd(torch.nn.Module):
    def __init__(self, parts=2):
        super().__init__()
        self.share = 1 / parts


def test_any_error_of_a_constructor_is_one_of_the_config():
    cfg = {"model": {"type": "SupervisedRestorer", "tasks": ["hazy"], "backbone": {"type": Odd, "parts": 0}}}
    with pytest.raises(ConfigError) as error, blamed(cfg, "my.py"):
        RESTORERS.build(cfg["model"])
    message = str(error.value)
    assert message.startswith("my.py: model.backbone cannot be built as ")
    assert "'parts': 0" in message
    assert "ZeroDivisionError: division by zero" in message
    assert "test_blame.py:" in message


def test_errors_of_dtir_keep_their_kind():
    cfg = {
        "a": [1, {"type": "PSNRLoss"}],
        "data": {"type": "SyntheticDataset", "task": "foggy", "data_root": "asset://photos"},
    }
    with pytest.raises(TaskError, match=r"^my: data: unknown task 'foggy'"), blamed(cfg, "my"):
        DATASETS.build(cfg["data"])


def test_an_error_elsewhere_stays_as_it_is():
    with pytest.raises(ValueError, match=r"^elsewhere$"), blamed({}):
        raise ValueError("elsewhere")


def test_a_part_that_is_in_no_config_is_named_by_its_type():
    with pytest.raises(ConfigError, match="config: NAFNet cannot be built"), blamed({"x": {"type": "Other"}}):
        BACKBONES.build({"type": "NAFNet", "width": 0.5})
    assert LOSSES.build({"type": "L1Loss"})


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "train_dataloader.dataset.datasets.0.task=foggy",
            "train_dataloader.dataset.datasets[0]: unknown task 'foggy'",
        ),
        (
            "param_scheduler=[dict(type='StepLR', step_size=1)]",
            "expected none: the learning rate",
        ),
        ("optim_wrapper.optimizer.type=LBFGS", "optim_wrapper.optimizer.type is 'LBFGS'"),
        ("train_cfg.stages.1.tasks=11", "train_cfg: stage 'finetune': tasks is 11; expected 'all'"),
        ("custom_hooks.1.before=nothing", "before is 'nothing'; expected the name of a stage"),
        ("default_hooks.checkpoint.save_best=noisy/PSNRR", "save_best is 'noisy/PSNRR'; expected None or a value of"),
    ],
)
def test_a_wrong_value_that_only_building_finds(option, message, tmp_path, capsys):
    words = ["--work-dir", str(tmp_path), "--cfg-options", f"experiment_name={tmp_path.name}", option]

    assert main(["train", str(TINY), *words]) == EXIT_ERROR
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
