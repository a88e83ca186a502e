"""Which precision is chosen, and that it is the one which is used, logged and passed on."""

import pytest
import torch

from dtir import RestorationInferencer
from dtir.apis.restoring import network, precision
from dtir.apis.restoring.precision import Choice, measured_choice
from dtir.apis.restoring.wish import Wish
from dtir.core.errors import ConfigError
from dtir.models.backbones.traits import Traits


@pytest.fixture
def clock(monkeypatch):
    """Times calls by what they cost, which does not depend on the machine."""
    cost = {"float32": 1.0, "bf16": 0.5, "now": 0.0}

    def seconds_of(call):
        before = cost["now"]
        call()
        return cost["now"] - before

    monkeypatch.setattr(precision, "seconds_of", seconds_of)
    return cost


def chosen(clock, error=0.0, steps=(5, 10)):
    calls = []

    def restore(picture, step, name):
        clock["now"] += clock[name]
        calls.append((step, name))
        return picture.clamp(0.1, 0.9) + (error if name == "bf16" else 0)

    return measured_choice(restore, steps, torch.device("cpu")), calls


@pytest.mark.parametrize(
    ("half", "error", "name"),
    [(0.5, 0.9 / 255, "bf16"), (0.5, 1.1 / 255, "float32"), (0.95, 0.0, "float32"), (3.0, 0.0, "float32")],
)
def test_bf16_is_chosen_where_it_is_faster_and_near(clock, half, error, name):
    clock["bf16"] = half
    choice, calls = chosen(clock, error)
    assert choice.precision == name
    assert choice.gain == pytest.approx(1 / half)
    assert choice.difference == pytest.approx(error, abs=1e-7)
    # Where it is slower, one round is enough.
    assert len(calls) == 2 + (2 if half > 1 else 6) * 2


def test_the_steps_are_spread_over_those_of_the_tasks(clock):
    _, calls = chosen(clock, steps=range(0, 60, 5))
    assert sorted({step for step, _ in calls}) == [0, 15, 35, 55]


class Adding(torch.nn.Module):
    """Notes in which type it computes."""

    tasks, num_timesteps = ("noisy",), 1

    def __init__(self, traits=None):
        super().__init__()
        self.register_buffer("matched_t", torch.zeros(1, dtype=torch.long))
        self.layer, self.traits = torch.nn.Conv2d(3, 3, 1), traits or Traits()
        self.types = set()

    def restore(self, lq, t):
        out = self.layer(lq)
        self.types.add(out.dtype)
        return lq + 0 * out


def test_what_was_chosen_is_used_said_and_passed_on(monkeypatch, tmp_path):
    monkeypatch.setattr(network, "measured_choice", lambda *_: Choice("bf16", 2.0, 0.001))
    model = Adding()
    inferencer = RestorationInferencer(model, "cpu", precision="auto")
    _, outcome = inferencer(torch.rand(3, 8, 8), task="noisy", with_details=True)
    assert model.types == {torch.bfloat16}
    assert outcome.precision == "bf16"
    assert str(inferencer.choice).startswith("bf16: bf16 is 2.0 times as fast as float32 here, and 0.26 of 255 off")
    assert inferencer.options["precision"] == "auto"
    inferencer.model_path = tmp_path
    _, (_, _, options, *_) = inferencer.recipe(inferencer.file_restorer(Wish("noisy")))
    assert options["precision"] == "bf16"


def test_networks_that_are_not_exact_enough_stay_in_float32():
    inferencer = RestorationInferencer(Adding(Traits(half_precision=False)), "cpu", precision="auto")
    assert inferencer.runner.precision == "float32"
    assert "not exact enough" in str(inferencer.choice)


def test_compiling_needs_a_compiler(monkeypatch):
    monkeypatch.setattr(network.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"install g\+\+ or set CXX"):
        RestorationInferencer(Adding(), "cpu", compiled=True)


def test_a_batch_is_what_the_memory_of_a_gpu_holds(monkeypatch):
    runner = network.NetworkRunner(Adding(), torch.device("cpu"), 64, 8)
    assert runner._batch_for((100, 100), 64, 0) == 1
    monkeypatch.setattr(runner, "device", torch.device("cuda"))
    monkeypatch.setattr(network, "_tiles_that_fit", lambda restore, size, device: 7 if size == (64, 50) else 0)
    assert runner._batch_for((100, 50), 64, 0) == 7
    assert runner._batch_for((100, 50), None, 0) == 1
