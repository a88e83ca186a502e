"""The whole of the regularised fine-tuning in one run."""

import json

import pytest
import torch
from tiny_run import assert_same_state, last_state, tiny_config, train

from dtir.core.errors import ConfigError
from dtir.engine import StagedRunner

EVERY = [
    {"type": "ParameterImportance", "weight": 0.03, "num_samples": 4, "chunk": 2},
    {"type": "ExpertBalance", "weight": 0.1},
    {"type": "OrthogonalityLoss", "weight": 0.01},
    {"type": "OrthogonalProjection"},
    {"type": "LayerDecay"},
]


@pytest.mark.parametrize("order", [1, -1])
def test_all_regularizers_train_together_in_any_order(tmp_path, order):
    options = {
        "model.network.adapter": {"type": "MoEAdapter", "rank": 2},
        "train_cfg.regularizers": EVERY[::order],
        "train_dataloader.batch_size": 8,
    }
    runner = train(tmp_path / "one", **options)
    assert all(p.isfinite().all() for p in runner.model.parameters())
    (log,) = (tmp_path / "one").glob("*/vis_data/scalars.json")
    last = [json.loads(line) for line in log.read_text().splitlines() if "loss_restoration" in line][-1]
    assert {"importance", "expert_use", "orth_same", "orth_cross", "grad_cosine", "loss_balance"} <= last.keys()
    train(tmp_path / "two", **options)
    assert_same_state(last_state(tmp_path / "one"), last_state(tmp_path / "two"))
    assert torch.isfinite(torch.tensor([v for v in last.values() if isinstance(v, float)])).all()


@pytest.mark.parametrize("kind", ["ParameterImportance", "OrthogonalProjection", "OrthogonalityLoss", "LayerDecay"])
def test_a_model_without_a_conditioned_network_is_named(tmp_path, kind):
    config = tiny_config(tmp_path)
    model = {"type": "SupervisedRestorer", "backbone": {"type": "TinyBackbone"}, "tasks": config.model.tasks}
    options = {"before": "one"} if kind == "ParameterImportance" else {}
    config.model, config.custom_hooks = model, []
    config.train_cfg.stages = [{"name": "one", "iters": 1, "lr": 1e-3}]
    config.train_cfg.regularizers = [{"type": kind, **options}]
    with pytest.raises(ConfigError, match=rf"{kind} needs .* time-conditioned network, .*SupervisedRestorer"):
        StagedRunner.from_cfg(config).train()
