"""The whole of the regularised fine-tuning in one run."""

import json

import pytest
import torch
from tiny_run import BARE, PLAIN, assert_same_state, last_state, tiny_config, train

from dtir.core.errors import ConfigError
from dtir.engine import StagedRunner
from dtir.testing.stopping import stopped

EVERY = [
    {"type": "ParameterImportance", "weight": 0.03, "num_samples": 4, "chunk": 2},
    {"type": "ExpertBalance", "weight": 0.1},
    {"type": "OrthogonalityLoss", "weight": 0.01},
    {"type": "OrthogonalProjection"},
    {"type": "LayerDecay"},
]


OPTIONS = {
    "model.network.adapter": {"type": "MoEAdapter", "rank": 2, "router_noise": 0.5},
    **BARE,
    **PLAIN,
    "train_cfg.stages": [
        {"name": "pretrain", "iters": 1, "lr": 0.01, "generative_share": 1.0},
        {"name": "finetune", "iters": 4, "lr": 0.01, "generative_share": 0.25},
    ],
    "custom_hooks": [{"type": "TimestepMatchingHook", "num_images": 1, "batch_size": 2}, {"type": "StageEMAHook"}],
}


def test_all_regularizers_train_together_in_any_order_and_resume_to_the_same_bits(tmp_path):
    train(tmp_path / "one", **OPTIONS, **{"train_cfg.regularizers": EVERY})
    (log,) = (tmp_path / "one").glob("*/vis_data/scalars.json")
    last = [json.loads(line) for line in log.read_text().splitlines() if "loss_restoration" in line][-1]
    logged = {"importance", "importance_ratio", "expert_use", "orth_same", "orth_cross", "grad_cosine", "loss_balance"}
    assert logged <= last.keys()
    assert torch.isfinite(torch.tensor([v for v in last.values() if isinstance(v, float)])).all()
    whole = last_state(tmp_path / "one")

    runner = StagedRunner.from_cfg(tiny_config(tmp_path / "two", **OPTIONS, **{"train_cfg.regularizers": EVERY}))
    with stopped(runner, "before_optim_step", 4):
        runner.train()
    train(tmp_path / "two", resume=True, **OPTIONS, **{"train_cfg.regularizers": EVERY})
    assert_same_state(last_state(tmp_path / "two"), whole)

    other = train(tmp_path / "three", **OPTIONS, **{"train_cfg.regularizers": EVERY[::-1]})
    for key, value in other.model.state_dict().items():
        torch.testing.assert_close(value, whole["ema_state_dict"][f"module.{key}"], rtol=0, atol=1e-6)


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
