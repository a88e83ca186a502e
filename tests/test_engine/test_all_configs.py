"""Every config in configs/ describes a model and a training that can be built."""

import functools
import json
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from dtir.cli.launching import load_config
from dtir.engine.stages import StagePlan
from dtir.models.restorers.sampling import SamplingRestorer
from dtir.registry import METRICS, RESTORERS, SCOPE

CONFIGS = Path(__file__).parents[2] / "configs"
# Those of training_free/ that name an operator are no trainings; test_guided_restorer.py runs them.
NAMES = sorted(
    str(p.relative_to(CONFIGS))
    for p in CONFIGS.rglob("*.py")
    if "_base_" not in p.parts and (p.parent.name != "training_free" or p.name.startswith("ddpm"))
)


@functools.cache
@torch.no_grad()
def restored_shape(model: str) -> tuple[int, ...]:
    """Of what a model, a config in JSON, makes of a small picture; many configs have the same one."""
    with DefaultScope.overwrite_default_scope(SCOPE):
        built = RESTORERS.build(json.loads(model))
    if isinstance(built, SamplingRestorer):
        built.set_sampling(num_steps=min(2, built.num_steps or 2))
    return tuple(built.restore(torch.rand(1, 3, 16, 24), torch.tensor([0])).shape)


@pytest.mark.parametrize("name", NAMES)
def test_config_builds(name, tmp_path):
    config = load_config(CONFIGS / name, work_dir=tmp_path)
    tasks = config.model.tasks
    assert restored_shape(json.dumps({**config.model, "tasks": ["one"]}, sort_keys=True)) == (1, 3, 16, 24)
    with DefaultScope.overwrite_default_scope(SCOPE):
        for metric in config.val_evaluator or ():
            METRICS.build(metric)
    plan = StagePlan(config.train_cfg.stages, len(tasks))
    datasets = config.train_dataloader.dataset.datasets
    assert [dataset.task for dataset in datasets] == list(tasks)
    assert plan.max_iters == sum(stage.settings.iters for stage in plan)
    assert {hook.before for hook in config.custom_hooks if "before" in hook} <= {stage.name for stage in plan}


def test_the_named_configs_exist():
    named = {"dtir/nafnet_10task_quick.py", "dtir/x_restormer_10task.py", "diffusion/sr3_x4.py"}
    assert named | {"models/universal_nafnet.py"} <= set(NAMES)
