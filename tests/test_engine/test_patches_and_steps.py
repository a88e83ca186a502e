"""Stages with patches of their own, steps of the tasks from the config, and a compiled network."""

import pytest
import torch
from tiny_run import last_state, tiny_config
from torch._dynamo import register_backend

from dtir.core.errors import TaskError
from dtir.engine import StagedRunner
from dtir.engine.hooks.blind_task import estimator_of

STAGES = [
    {"name": "small", "iters": 2, "lr": 1e-3, "patch": 12, "mixing": "proportional"},
    {"name": "large", "iters": 1, "lr": 1e-3, "patch": 24},
    {"name": "own", "iters": 1, "lr": 1e-3},
]


def staged_config(work_dir, **options):
    config = tiny_config(work_dir, **{"val_dataloader": None, "val_cfg": None, "val_evaluator": None, **options})
    config.train_cfg = dict(type="StagedTrainLoop", stages=STAGES)
    config.custom_hooks = []
    return config


def test_every_stage_trains_on_patches_of_its_size(tmp_path):
    runner, sizes = StagedRunner.from_cfg(staged_config(tmp_path)), []
    losses = runner.model.losses
    runner.model.losses = lambda lq, samples: (sizes.append(tuple(lq.shape[2:])), losses(lq, samples))[1]
    runner.train()
    assert sizes == [(12, 12), (12, 12), (24, 24), (16, 16)]


def test_a_compiled_network_trains_to_the_same_weights_and_keeps_its_keys(tmp_path):
    for name, options in (("eager", {}), ("compiled", {"compile": {"backend": "eager"}})):
        config = staged_config(tmp_path / name, **options)
        config.train_cfg.stages = STAGES[:1]
        runner = StagedRunner.from_cfg(config)
        runner.train()
        assert (runner.model.network._compiled_call_impl is not None) == (name == "compiled")
    eager, compiled = (last_state(tmp_path / name)["state_dict"] for name in ("eager", "compiled"))
    assert eager.keys() == compiled.keys()
    assert all(torch.allclose(eager[key], compiled[key], atol=1e-6) for key in eager)


def test_a_validation_compiles_nothing(tmp_path):
    compiled = []

    @register_backend(name="recorder_of_shapes")
    def backend(graph, inputs):
        compiled.extend(tuple(value.shape) for value in inputs if torch.is_tensor(value))
        return graph.forward

    config = tiny_config(tmp_path, compile={"backend": "recorder_of_shapes"})
    config.train_cfg = dict(type="StagedTrainLoop", stages=STAGES[:1])
    config.custom_hooks = []
    StagedRunner.from_cfg(config).train()
    assert (8, 3, 12, 12) in compiled
    assert not any(32 in shape[2:] for shape in compiled)


def test_a_classifiers_checkpoint_holds_its_averaged_estimator_as_a_restorers_does(tmp_path):
    config = staged_config(tmp_path)
    config.model = {"type": "TaskClassifier", "tasks": list(config.model.tasks), "width": 4}
    config.train_cfg.stages = [{"name": "train", "iters": 3, "lr": 1e-3}]
    config.custom_hooks = [{"type": "ClassifierCheckpointHook"}, {"type": "StageEMAHook", "decay": 0.9}]
    StagedRunner.from_cfg(config).train()
    state = last_state(tmp_path)
    estimator = estimator_of(state, config.model["tasks"]).state_dict()
    assert all(torch.equal(value, state["state_dict"][f"estimator.{key}"]) for key, value in estimator.items())
    averages = state["ema_state_dict"]["module.estimator.head.weight"], state["state_dict"]["estimator.head.weight"]
    assert not torch.equal(*averages)


def test_steps_of_the_config_are_those_of_the_model(tmp_path):
    steps = {"noisy": 3, "jpeg-compressed": 40}
    model = StagedRunner.from_cfg(staged_config(tmp_path, **{"model.matched_t": steps})).model
    assert model.matched_t.tolist() == [3, -1, 40]
    with pytest.raises(TaskError, match="unknown task 'nosy'"):
        StagedRunner.from_cfg(staged_config(tmp_path, **{"model.matched_t": {"nosy": 3}}))
