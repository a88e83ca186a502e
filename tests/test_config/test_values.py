"""Values of a config against the annotations of what takes them."""

import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn

import dtir.testing.models  # noqa: F401 - registers TinyBackbone.
from dtir.cli import EXIT_ERROR, main
from dtir.cli.launching import load_config
from dtir.config.arguments import arguments_of
from dtir.config.check import check_config
from dtir.config.values import describe, misfit
from dtir.core.errors import ConfigError
from dtir.core.ranges import BelowOne, NonNegative, Positive, PositiveInt, Range, Share
from dtir.engine.schema import SCHEMA
from dtir.models.backbones import UNetModelDualcondV2
from dtir.models.backbones.image.nafnet import NAFNet
from dtir.registry import BACKBONES

ROOT = Path(__file__).parents[2]
QUICK = ROOT / "configs" / "dtir" / "nafnet_10task_quick.py"
FULL = ROOT / "configs" / "dtir" / "nafnet_10task.py"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (3, int),
        (3, float),
        (1e-3, Positive),
        (0, Share),
        (1, Share),
        ("x", str),
        (None, int | None),
        ([1, 2], Sequence[int]),
        ((1, 2), list[int]),
        ([0.9, 0.99], tuple[BelowOne, BelowOne]),
        ({"a": 1}, Mapping[str, int]),
        ("data", str | os.PathLike),
        ("data", Path),
        ({"type": "NAFNet"}, nn.Module | dict),
        (nn.Identity(), nn.Module),
        ("pseudo_collate", Callable[[list], Any]),
        (1e-3, float | Tensor),
        (torch.ones(1), float | Tensor),
        ("anything", object),
        ([{}], Any),
        ("a", Literal["a", "b"]),
    ],
)
def test_what_fits(value, kind):
    assert misfit(value, kind, "x") is None


@pytest.mark.parametrize(
    ("value", "kind", "path", "expected"),
    [
        ("abc", int, "x", "an integer"),
        (True, int, "x", "an integer"),
        (2.0, int, "x", "an integer"),
        (True, float, "x", "a number"),
        (math.nan, float, "x", "a number"),
        (math.inf, NonNegative, "x", "a number >= 0"),
        (1, bool, "x", "True or False"),
        (0, PositiveInt, "x", "an integer >= 1"),
        ("wide", PositiveInt, "x", "an integer >= 1"),
        (0.0, Positive, "x", "a number > 0"),
        (1.5, Share, "x", "a number in [0, 1]"),
        (1, BelowOne, "x", "a number in [0, 1)"),
        ("no", PositiveInt | None, "x", "an integer >= 1 or None"),
        ("hazy", Sequence[str], "x", "a list (of a text each)"),
        ([1, "a"], Sequence[int], "x[1]", "an integer"),
        ([1, 0], Sequence[PositiveInt] | None, "x[1]", "an integer >= 1"),
        (0.9, tuple[BelowOne, BelowOne], "x", "a list of 2: a number in [0, 1), a number in [0, 1)"),
        ([0.9, 2], tuple[BelowOne, BelowOne], "x[1]", "a number in [0, 1)"),
        ({"a": "b"}, Mapping[str, int], "x.a", "an integer"),
        (3, Mapping, "x", "a dict"),
        (3, nn.Module | dict, "x", "a dict that describes a Module or a dict"),
        ("fast", float | Tensor, "x", "a number or a dict that describes a Tensor"),
        (3, Callable, "x", "the name of a function"),
        (3, Path, "x", "a path"),
        ("c", Literal["a", "b"], "x", "one of 'a', 'b'"),
    ],
)
def test_what_does_not_fit(value, kind, path, expected):
    found = misfit(value, kind, "x")

    assert (found.path, found.expected) == (path, expected)
    assert str(found).startswith(f"{path} is ")


def test_ranges_in_words():
    assert [str(Range(1)), str(Range(0, open_low=True)), str(Range(0, 1, True, True))] == [">= 1", "> 0", "in (0, 1)"]
    assert describe(PositiveInt | None) == "an integer >= 1 or None"


def test_ranges_of_others_and_of_published_names():
    assert misfit(-1, arguments_of(torch.optim.SGD).named["momentum"].kind, "x") is not None
    assert misfit(0, arguments_of(NAFNet).named["width"].kind, "x") is not None
    assert misfit(0, arguments_of(NAFNet).named["middle_blk_num"].kind, "x") is None


class MyLayer(nn.Module):
    def __init__(self, steps: int, width: int = 0):
        super().__init__()


def test_a_name_means_in_a_class_of_somebody_else_what_its_annotation_says():
    assert misfit(-1, arguments_of(MyLayer).named["steps"].kind, "x") is None
    assert arguments_of(MyLayer).named["steps"].required


@pytest.mark.parametrize(
    ("option", "path", "expected"),
    [
        ("train_dataloader.batch_size=abc", None, "an integer >= 1"),
        ("train_dataloader.batch_size=0", None, "an integer >= 1"),
        ("train_dataloader.num_workers=-1", None, "an integer >= 0"),
        ("train_cfg.stages.0.lr=fast", "train_cfg.stages[0].lr", "a number > 0"),
        ("train_cfg.stages.0.lr=nan", "train_cfg.stages[0].lr", "a number > 0"),
        ("train_cfg.stages.0.iters=1.5", "train_cfg.stages[0].iters", "an integer >= 1 or a list"),
        ("train_cfg.stages.2.iters=[1,a]", "train_cfg.stages[2].iters[1]", "an integer >= 1"),
        ("train_cfg.stages.0.generative_share=half", "train_cfg.stages[0].generative_share", "a number in [0, 1]"),
        ("train_cfg.stages.0.schedule=cosin", "train_cfg.stages[0].schedule", "one of 'cosine', 'linear', 'constant'"),
        ("train_cfg.stages.0.tasks=hazy", "train_cfg.stages[0].tasks", "one of 'all' or"),
        ("train_cfg.accumulate=0", None, "an integer >= 1"),
        ("randomness.seed=-1", None, "an integer in [0, 4294967295] or None"),
        ("model.network.backbone.width=wide", None, "an integer >= 1"),
        ("model.network.backbone.enc_blk_nums=[1,-1,2]", "model.network.backbone.enc_blk_nums[1]", "an integer >= 0"),
        ("model.network.embed_dim=-2", None, "an integer >= 1"),
        ("model.scheduler.num_timesteps=0", None, "an integer >= 1"),
        ("optim_wrapper.optimizer.betas=0.9", None, "a list of 2"),
        ("optim_wrapper.optimizer.betas=[0.9,2]", "optim_wrapper.optimizer.betas[1]", "a number in [0, 1)"),
        ("optim_wrapper.optimizer.weight_decay=-1", None, "a number >= 0"),
        ("optim_wrapper.clip_grad=abc", None, "a number > 0 or None"),
        ("optim_wrapper.amp=fp8", None, "one of 'bf16', 'fp16' or None"),
        ("default_hooks.checkpoint.interval=x", None, "an integer >= 1"),
        ("default_hooks.logger.interval=0", None, "an integer >= 1"),
        ("custom_hooks.0.decay=2", "custom_hooks[0].decay", "a number in [0, 1)"),
        ("train_dataloader.dataset.datasets.0.patch=0", "train_dataloader.dataset.datasets[0].patch", ">= 1"),
        ("train_dataloader.dataset.datasets.0.patch=-3", "train_dataloader.dataset.datasets[0].patch", ">= 1"),
        ("train_dataloader.dataset.datasets.0.severity=7", "train_dataloader.dataset.datasets[0].severity", "[0, 1]"),
        ("model.tasks=hazy", None, "a list"),
        ("train_dataloader=3", None, "a dict"),
        ("val_dataloader.batch_size=None", None, "an integer >= 1"),
        ("optim_wrapper=3", None, "a dict"),
        ("work_dir=3", None, "a text"),
        ("log_processor.by_epoch=3", None, "True or False"),
    ],
)
def test_a_wrong_option_is_an_error_with_path_value_and_what_is_expected(option, path, expected, capsys):
    key, _, value = option.partition("=")

    assert main(["train", str(QUICK), "--cfg-options", option]) == EXIT_ERROR

    message = capsys.readouterr().err
    assert f"{path or key} is " in message
    assert any(repr(part) in message or part in message for part in (value, *value.strip("[]").split(",")))
    assert f"expected {expected}" in message or expected in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("model.network.backbone.type=PSNR", "model.network.backbone.type: 'PSNR' is no backbone. "),
        ("custom_hooks.0.type=PSNR", "custom_hooks[0].type: 'PSNR' is no hook."),
        ("default_hooks.logger.type=L1Loss", "default_hooks.logger.type: 'L1Loss' is no hook."),
        ("runner_type=Stagedrunner", "runner_type: 'Stagedrunner' is not registered. Did you mean 'StagedRunner'?"),
        ("default_scope=nowhere", "default_scope is 'nowhere'; expected 'dtir'"),
        ("train_cfg.stages.0.warmup_iters=9999", "train_cfg.stages[0]: stage 'pretrain': warmup_iters must be"),
        ("train_cfg.stages.9.lr=1", "cannot be applied"),
        ("train_cfg.stages.2.iters=[]", "iters must be an integer >= 1, got ()"),
        ("env_cfg.mp_cfg.mp_start_method=spoon", "env_cfg.mp_cfg.mp_start_method is 'spoon'; expected one of 'fork'"),
        ("train_cfg.runner=3", "unknown key 'train_cfg.runner'"),
        ("log_processor.mean_pattern=3", "log_processor.mean_pattern is 3; expected a text"),
        ("param_scheduler=[3]", "param_scheduler[0] is 3; expected a dict"),
        (
            "val_evaluator.0.collect_device=abc",
            "val_evaluator[0].collect_device is 'abc'; expected one of 'cpu'",
        ),
        ("env_cfg.dist_cfg.timeout=-1", "env_cfg.dist_cfg.timeout is -1; expected a number > 0"),
        ("model.generative_weight=abc", "model.generative_weight is 'abc'; expected one of 'uniform', 'min_snr'"),
        ("custom_hooks.0=3", "cannot be applied"),
        ("model.network.embed_dim=[1", "model.network.embed_dim is '[1'; expected an integer >= 1"),
        ("=3", "unknown key ''"),
    ],
)
def test_a_wrong_option_of_another_kind(option, message):
    with pytest.raises(ConfigError) as error:
        load_config(QUICK, [option])

    assert message in str(error.value)


def of(**config) -> str:
    with pytest.raises(ConfigError) as error:
        check_config(Config(config), SCHEMA, "my.py")
    return str(error.value)


def test_what_draws_pictures_is_one_of_those_that_do():
    dataset = {"type": "DrawnDataset", "task": "clean", "draw": "DrawGrounds"}
    message = of(test_dataloader={"batch_size": 1, "dataset": dataset})
    assert "test_dataloader.dataset.draw is 'DrawGrounds'; expected one of 'DrawPicture', 'DrawGround'" in message


def test_what_is_missing_is_named():
    assert "model: missing network, tasks of DiffusionRestorer." in of(model={"type": "DiffusionRestorer"})
    assert "model.network has no 'type'" in of(model={"type": "DiffusionRestorer", "tasks": ["a"], "network": {"t": 1}})
    assert "train_cfg.stages[0]: missing iters, lr." in of(
        train_cfg={"type": "StagedTrainLoop", "stages": [{"name": "a"}]}
    )
    assert "train_dataloader: missing dataset, batch_size." in of(train_dataloader={"num_workers": 1})
    assert "val_evaluator[0] has no 'type'" in of(val_evaluator=[{"protocol": "rgb"}])
    assert "val_evaluator is empty" in of(val_evaluator=[])
    assert "randomness: missing seed." in of(randomness={})
    assert "custom_hooks[0] is 3; expected a dict" in of(custom_hooks=[3])
    assert "train_cfg.stages[0] is 3; expected a dict" in of(train_cfg={"type": "StagedTrainLoop", "stages": [3]})


def test_a_lambda_is_refused():
    message = of(train_dataloader={"batch_size": 1, "dataset": {"type": "X"}, "collate_fn": lambda batch: batch})

    assert "train_dataloader.collate_fn is <function" in message
    assert "no lambda" in message


@pytest.mark.parametrize("section", ["train_dataloader", "val_dataloader"])
def test_what_puts_a_batch_together_is_a_function(section):
    loader = {"batch_size": 1, "dataset": {"type": "MultiTaskDataset", "datasets": []}}
    expected = f"{section}.collate_fn is 'x'; expected a function or a dict or None."
    assert expected in of(**{section: {**loader, "collate_fn": "x"}})
    assert f"{section}.collate_fn.type: 'L1Loss' is no function" in of(
        **{section: {**loader, "collate_fn": {"type": "L1Loss"}}}
    )


def test_each_loss_of_a_supervised_restorer_may_have_a_weight():
    losses = [{"type": "L1Loss"}, {"type": "FFTLoss", "weight": 0.1}]
    model = {"type": "SupervisedRestorer", "tasks": ["hazy"], "backbone": {"type": "TinyBackbone"}}
    check_config(Config({"model": {**model, "losses": losses}}), SCHEMA)
    assert "unknown key 'model.losses[0].wieght'. Did you mean 'weight'?" in of(
        model={**model, "losses": [{"type": "L1Loss", "wieght": 0.1}]}
    )
    # Of a restorer that does not read it, it stays unknown.
    assert "unknown key 'model.restoration_loss.weight'" in of(
        model={"type": "DiffusionRestorer", "tasks": ["a"], "restoration_loss": {"type": "L1Loss", "weight": 0.1}}
    )


def test_the_regularizers_of_the_method_are_checked():
    with pytest.raises(ConfigError, match=r"train_cfg.regularizers\[0\].weight is -1; expected a number >= 0"):
        load_config(FULL, ["train_cfg.regularizers.0.weight=-1"])


def test_a_published_default_outside_of_the_range_of_its_name_fits():
    kinds = {name: argument.kind for name, argument in arguments_of(UNetModelDualcondV2).named.items()}
    assert misfit(-1, kinds["num_heads"], "num_heads") is None
    assert str(misfit(-2, kinds["num_heads"], "num_heads")) == "num_heads is -2; expected an integer >= 1 or one of -1."
    assert misfit(0, kinds["model_channels"], "model_channels") is not None


def test_every_default_of_our_networks_fits():
    problems = [
        str(misfit(argument.default, argument.kind, f"{kind.__name__}.{name}"))
        for kind in BACKBONES.module_dict.values()
        for name, argument in arguments_of(kind).named.items()
        if argument.default is not inspect.Parameter.empty and misfit(argument.default, argument.kind, name)
    ]
    assert not problems
