"""What a sharded training refuses, and what it is with one process; test_two_processes.py trains in shards."""

import pytest
import torch
from tiny_run import BARE, built, train
from torch import nn

from dtir.core.errors import ConfigError
from dtir.engine.optim import StagedOptimWrapper
from dtir.engine.sharding import optimizer_state_like, refuse_optimizer, state_like, whole, without_shards

SHARDED = {**BARE, "train_cfg.parallel": "FSDP"}


def test_one_process_has_the_whole(tmp_path):
    stages = [{"name": "finetune", "iters": 2, "lr": 0.01}]
    runners = [
        train(tmp_path / name, **{**BARE, "train_cfg.stages": stages, "train_cfg.parallel": name})
        for name in ("DDP", "FSDP")
    ]
    first, second = (runner.model.state_dict() for runner in runners)
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert runners[1].shards is None


@pytest.mark.parametrize("kind", ["ParameterImportance", "OrthogonalProjection", "OrthogonalityLoss", "LayerDecay"])
def test_regularizers_are_refused_by_name(tmp_path, kind):
    with pytest.raises(ConfigError, match=f"{kind} needs whole weights and gradients.*train_cfg.parallel='DDP'"):
        built(tmp_path, **SHARDED, **{"train_cfg.regularizers": [{"type": kind}]})


def test_compiling_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"compile does not go with train_cfg\.parallel='FSDP'"):
        built(tmp_path, **SHARDED, compile=True)


class OfAPackage(torch.optim.SGD):
    pass


def test_other_optimizers_and_loss_scales_are_refused():
    params = list(nn.Linear(2, 2).parameters())
    refuse_optimizer(StagedOptimWrapper(torch.optim.AdamW(params), amp="bf16"))
    with pytest.raises(ConfigError, match="OfAPackage needs whole parameters"):
        refuse_optimizer(StagedOptimWrapper(OfAPackage(params, lr=0.1)))
    with pytest.raises(ConfigError, match="--amp fp16 does not go with"):
        refuse_optimizer(StagedOptimWrapper(torch.optim.AdamW(params), amp="fp16"))


def test_what_is_whole_stays_as_it_is():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    model.append(model[0])
    state = model.state_dict()
    assert all(value is state[key] for key, value in state_like(state, state).items())
    assert whole({"a": [1, (state["0.weight"],)]})["a"][1][0] is state["0.weight"]
    moments = {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": []}
    assert optimizer_state_like(moments, [state["0.weight"]]) == moments
    clone = without_shards(model)
    assert list(clone.state_dict()) == list(state)
    assert [p.shape for p in clone.parameters()] == [p.shape for p in model.parameters()]
    assert all(torch.equal(value, state[key]) for key, value in clone.state_dict().items())
