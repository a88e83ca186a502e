import csv

import cv2
import pytest
import torch
from tiny_run import train

from dtir.core.errors import ConfigError
from dtir.engine.hooks.expert_use import expert_shares
from dtir.models import ConditionedNetwork
from dtir.testing import TinyBackbone

STAGES = [{"name": "finetune", "iters": 1, "lr": 1e-3, "generative_share": 0.25}]


def test_shares_are_those_the_adapters_use():
    torch.manual_seed(0)
    network = ConditionedNetwork(TinyBackbone(), embed_dim=8, adapter={"type": "MoEAdapter", "num_experts": 5})
    steps = torch.tensor([3, 30])
    shares = expert_shares(network, steps)
    assert shares.shape == (2, 2, 5)
    torch.testing.assert_close(shares.sum(2), torch.ones(2, 2))
    assert ((shares > 0).sum(2) == 2).all()
    calls = []
    network.adapters["1"].experts.register_forward_hook(lambda module, args, out: calls.append(module.routing(args[1])))
    network(torch.rand(2, 3, 8, 8), steps)
    share, chosen = calls[0]
    torch.testing.assert_close(shares[1].gather(1, chosen), share)


def test_the_report_is_written(tmp_path):
    adapter = {"type": "MoEAdapter", "num_experts": 3, "rank": 2}
    hooks = [{"type": "ExpertUseHook"}]
    train(tmp_path, **{"train_cfg.stages": STAGES, "custom_hooks": hooks, "model.network.adapter": adapter})
    header, *rows = csv.reader((tmp_path / "report" / "experts.csv").read_text().splitlines())
    assert header == ["adapter", "task", "expert 0", "expert 1", "expert 2"]
    assert [row[:2] for row in rows[:4]] == [
        ["0", "noisy"],
        ["0", "low-light"],
        ["0", "jpeg-compressed"],
        ["1", "noisy"],
    ]
    assert all(sum(map(float, row[2:])) == pytest.approx(1, abs=1e-3) for row in rows)
    assert cv2.imread(str(tmp_path / "report" / "experts.png")).std() > 10


def test_a_network_without_adapters_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"model\.network\.adapter"):
        train(tmp_path, **{"train_cfg.stages": STAGES, "custom_hooks": [{"type": "ExpertUseHook"}]})
