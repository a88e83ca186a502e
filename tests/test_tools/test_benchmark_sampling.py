"""tools/analysis/benchmark_sampling.py: shares of a network's evaluation."""

import sys
import time
from pathlib import Path

import pytest

from dtir.config.files import read_config
from tools.analysis import benchmark_sampling

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(autouse=True)
def network(monkeypatch):
    monkeypatch.setattr(benchmark_sampling, "evaluation", lambda device, size: lambda: time.sleep(0.02))


def run(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["benchmark_sampling.py", "--size", "32", "--steps", "2", "--rounds", "1", *words])
    return benchmark_sampling.main()


def test_arithmetic_is_set_against_the_network(monkeypatch, capsys):
    assert run(monkeypatch, "--only", "DDPMScheduler DDIMSampler") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "DDIMSampler" in line]
    assert len(lines) == 2
    for line in lines:
        own, whole, share = (cell.strip() for cell in line.split("│")[3:6])
        assert float(share.rstrip("%")) > 0
        # Both are rounded in the table.
        assert float(share.rstrip("%")) == pytest.approx(100 * float(own) / float(whole), rel=0.3)


def test_a_size_that_an_operator_cannot_measure_is_named(monkeypatch, capsys):
    assert run(monkeypatch, "--size", "30", "--only", "sensing") == 1
    assert "30 x 30 pixels must be a power of 2" in capsys.readouterr().err


def test_the_network_is_that_of_the_configs():
    assert read_config(CONFIGS / "_base_/models/nafnet_32.py").model.network == benchmark_sampling.NAFNET
