"""Samples with a time step of their own, from the data to the loss."""

import json

import cv2
import numpy as np
import pytest
import torch

from dtir.core.errors import ConfigError, DatasetError
from dtir.datasets import MixtureDataset, MultiTaskDataset, PairedDataset, SampleKey, SyntheticDataset
from dtir.datasets.transforms.degrade import StepOfSeverity
from dtir.models import RestorationDataPreprocessor

TABLE = [(0.2, 2), (0.6, 10)]


@pytest.mark.parametrize(("severity", "step"), [(0.0, 2), (0.2, 2), (0.3, 4), (0.6, 10), (1.0, 10)])
def test_a_severity_is_interpolated_in_the_table(severity, step):
    assert StepOfSeverity(TABLE).transform({"severity": severity})["step"] == step


@pytest.mark.parametrize("table", [[], [(0.5, 3), (0.5, 4)], [(0.6, 3), (0.2, 4)], [(0.5, -1)]])
def test_a_wrong_table_is_named(table):
    with pytest.raises(ConfigError, match="severities ascending"):
        StepOfSeverity(table)


def test_a_synthetic_sample_has_the_step_of_its_own_severity():
    options = {"files": ["rocket.jpg"], "patch": 16, "severity": (0.2, 0.6)}
    own = SyntheticDataset("noisy", "asset://photos", severity_steps=TABLE, **options)
    steps = {own.training_item(0, np.random.default_rng(k))["data_samples"]["step"] for k in range(12)}
    assert steps <= set(range(2, 11))
    assert len(steps) > 3
    assert "step" not in own.training_item(0, np.random.default_rng(0), generative=True)["data_samples"]
    plain = SyntheticDataset("hazy", "asset://photos", **options)
    assert "step" not in plain.training_item(0, np.random.default_rng(0))["data_samples"]
    mixed = MultiTaskDataset([own, plain])
    keys = [SampleKey(0, draw, draw % 2, 0, False) for draw in range(4)]
    assert [mixed[key]["data_samples"]["step"] > 0 for key in keys] == [True, False, True, False]
    assert "step" not in MultiTaskDataset([plain])[keys[0]]["data_samples"]


@pytest.fixture(name="pairs")
def pairs_fixture(tmp_path):
    for kind in ("LQ", "GT"):
        (tmp_path / kind).mkdir()
        for name in "ab":
            assert cv2.imwrite(str(tmp_path / kind / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
    return tmp_path


def test_a_pair_has_the_step_that_the_file_gives_it(pairs):
    (pairs / "steps.json").write_text(json.dumps({"b": 7}))
    data = PairedDataset("rainy", pairs, patch=8, steps=pairs / "steps.json")
    samples = [data.training_item(k, np.random.default_rng(0))["data_samples"] for k in (0, 1)]
    assert [sample.get("step") for sample in samples] == [None, 7]
    # A batch of evaluation would ask all its pictures for one.
    assert not any("step" in data[index]["data_samples"] for index in range(2))


def test_datasets_name_the_steps_that_their_samples_may_have(pairs):
    (pairs / "steps.json").write_text(json.dumps({"b": 7, "gone": 9}))
    data = PairedDataset("rainy", pairs, patch=8, steps=pairs / "steps.json")
    made = SyntheticDataset("noisy", "asset://photos", severity=(0.1, 0.3), severity_steps=TABLE)
    assert data.own_steps == (7,)
    assert made.own_steps == (2, 3, 4)
    assert MultiTaskDataset([data, made, PairedDataset("hazy", pairs)]).own_steps == {"rainy": (7,), "noisy": (2, 3, 4)}
    assert StepOfSeverity(TABLE).possible((0.0, 1.0)) == tuple(range(2, 11))
    again = SyntheticDataset("noisy", "asset://photos", severity=0.6, severity_steps=TABLE)
    assert MixtureDataset("noisy", [made, again], shares=[1, 1]).own_steps == (2, 3, 4, 10)


def test_a_pair_is_faded_to_the_severity_that_is_drawn(pairs):
    gt, lq = np.full((8, 8, 3), 100, np.uint8), np.full((8, 8, 3), 180, np.uint8)
    for kind, picture in (("LQ", lq), ("GT", gt)):
        for name in "ab":
            assert cv2.imwrite(str(pairs / kind / f"{name}.png"), picture)
    data = PairedDataset("rainy", pairs, patch=8, severity=(0.0, 1.0), severity_steps=[(0.0, 0), (1.0, 40)])
    items = [data.training_item(0, np.random.default_rng(k)) for k in range(20)]
    for item in items:
        level, step = item["inputs"].float().mean().item(), item["data_samples"]["step"]
        # A severity of 0.5 is the pair as it was recorded; what is beyond white is cut off.
        assert level == pytest.approx(min(100 + 160 * step / 40, 255), abs=3)
        assert item["data_samples"]["gt"].unique().tolist() == [100]
    assert len({item["data_samples"]["step"] for item in items}) > 10
    generative = data.training_item(0, np.random.default_rng(0), generative=True)
    assert generative["inputs"].unique().tolist() == [100]
    assert "step" not in generative["data_samples"]
    assert data[0]["inputs"].unique().tolist() == [180]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"severity_steps": TABLE}, "give severity="),
        ({"severity_steps": TABLE, "severity": 0.5, "steps": "steps.json"}, "leave out steps"),
        ({"severity": (0.1, 0.5), "steps": "steps.json"}, "leave out steps"),
    ],
)
def test_steps_of_severities_need_severities_alone(pairs, options, message):
    with pytest.raises(DatasetError, match=message):
        PairedDataset("rainy", pairs, **options)


@pytest.mark.parametrize("content", ["[1]", '{"a": -1}', '{"a": 1.5}', "{"])
def test_a_wrong_file_of_steps_is_named(content, pairs):
    (pairs / "steps.json").write_text(content)
    with pytest.raises(DatasetError, match=r"steps .*steps\.json"):
        PairedDataset("rainy", pairs, steps=pairs / "steps.json")


def test_the_steps_stay_with_their_samples():
    samples = {
        "gt": torch.zeros(3, 3, 8, 8, dtype=torch.uint8),
        "task": torch.tensor([0, 1, 2]),
        "step": torch.tensor([5, -1, 9]),
        "generative": torch.tensor([False, False, True]),
    }
    out = RestorationDataPreprocessor()({"inputs": samples["gt"], "data_samples": samples}, training=True)
    assert out["data_samples"]["task"].tolist() == [2, 0, 1]
    assert out["data_samples"]["step"].tolist() == [9, 5, -1]


@pytest.mark.parametrize("options", [{"severity": 0.3}, {"severity": 0.3, "severity_steps": TABLE}])
def test_what_another_pipeline_would_ignore_is_refused(pairs, options):
    pipeline = [{"type": "LoadPair"}, {"type": "PackPair"}]
    with pytest.raises(DatasetError, match="pipeline= replaces it"):
        PairedDataset("rainy", pairs, pipeline=pipeline, **options)
    if "severity_steps" in options:
        with pytest.raises(DatasetError, match="task 'noisy': severity_steps shape the default pipeline"):
            SyntheticDataset("noisy", "asset://photos", pipeline=pipeline, severity_steps=TABLE)
