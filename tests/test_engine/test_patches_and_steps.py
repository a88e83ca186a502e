"""Stages with patches of their own, steps of the tasks from the config, and a compiled network."""

import copy
import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from tiny_run import last_state, tiny_config
from torch._dynamo import register_backend
from torch._dynamo.backends.debugging import aot_eager

from dtir.config.check import check_config
from dtir.core.errors import ConfigError, TaskError
from dtir.engine import StagedRunner
from dtir.engine.compiling import compile_network
from dtir.engine.hooks.blind_task import estimator_of
from dtir.engine.schema import SCHEMA
from dtir.registry import BACKBONES

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


def blocks_config(work_dir, blocks, **options):
    """A training of a U-Net with so many equal blocks in its middle, and one of another width above and below them."""
    backbone = {"type": "NAFNet", "width": 4, "enc_blk_nums": [1], "dec_blk_nums": [1], "middle_blk_num": blocks}
    config = tiny_config(work_dir, **{"model.network.backbone": backbone, **options})
    config.train_cfg = dict(type="StagedTrainLoop", stages=STAGES[:2])
    config.custom_hooks = [{"type": "StageEMAHook", "decay": 0.5}]
    return config


def test_equal_blocks_share_what_is_compiled_and_train_to_the_same_weights(tmp_path):
    graphs = {}
    for blocks in (1, 2):
        torch.compiler.reset()
        seen = graphs[blocks] = []

        @register_backend(name=f"recorder_of_{blocks}_blocks")
        def backend(graph, inputs, seen=seen):
            seen.append(max((tuple(value.shape) for value in inputs if value.ndim == 4), key=lambda s: s[2]))
            return aot_eager(graph, inputs)

        compiling = {"blocks": True, "backend": f"recorder_of_{blocks}_blocks"}
        StagedRunner.from_cfg(blocks_config(tmp_path / f"compiled{blocks}", blocks, compile=compiling)).train()
    torch.compiler.reset()
    # Two patch sizes at two widths, with gradients; the picture of the validation, 32 high, is none of them.
    assert sorted(graphs[1]) == sorted(graphs[2])
    assert set(graphs[2]) == {(8, 4, 12, 12), (8, 8, 6, 6), (8, 4, 24, 24), (8, 8, 12, 12)}
    StagedRunner.from_cfg(blocks_config(tmp_path / "eager", 2)).train()
    eager, compiled = (last_state(tmp_path / name) for name in ("eager", "compiled2"))
    for part in ("state_dict", "ema_state_dict"):
        assert eager[part].keys() == compiled[part].keys()
        for key, value in eager[part].items():
            torch.testing.assert_close(compiled[part][key], value, rtol=0, atol=1e-5)


def test_a_copy_of_a_network_with_compiled_blocks_has_its_own_weights():
    backbone = BACKBONES.build({"type": "NAFNet", "width": 4, "middle_blk_num": 1})
    block = backbone.middle_blks[0]
    torch.nn.init.ones_(block.gamma)
    compile_network(SimpleNamespace(backbone=backbone), shapes=1, blocks=True, backend="eager")
    copied, x = copy.deepcopy(backbone).middle_blks[0], torch.rand(1, *block.gamma.shape[1:2], 8, 8)
    # Without its two gains a block is the identity.
    torch.nn.init.zeros_(block.gamma)
    assert torch.equal(block(x), x)
    assert not torch.allclose(copied(x), x)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"block": True}, "unknown key 'compile.block'. Did you mean 'blocks'?"),
        ({"blocks": "all"}, "compile.blocks is 'all'"),
    ],
)
def test_what_compiling_does_not_take_is_refused(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_config(Config({"compile": settings}), SCHEMA)
