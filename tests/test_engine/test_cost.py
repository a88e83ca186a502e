"""What a test writes about the cost of restoring."""

import json

import torch
from tiny_run import tiny_config

from dtir.cli.launching import build_runner
from dtir.measure.complexity import count_parameters


def test_cost_of_a_test(tmp_path):
    cfg = tiny_config(tmp_path, custom_hooks=[{"type": "CostHook"}])
    runner = build_runner(cfg)
    runner.test()
    cost = json.loads((tmp_path / "report" / "cost.json").read_text())

    assert cost["parameters"] == count_parameters(runner.model)
    assert cost["macs"] > 0
    assert cost["side"] == 256
    assert cost["seconds_per_megapixel"] > 0
    assert cost["peak_bytes"] > 2**20
    assert cost["device"] == (torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU")
