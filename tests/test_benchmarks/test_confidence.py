"""From which probability on an estimate should be believed: the tables, on tries whose outcome is known."""

import numpy as np
import pytest
import torch

import dtir.testing.models  # noqa: F401 - registers TinyBackbone.
from benchmarks.confidence import Try, by_confidence, by_two, folder_table, restored_by_odds, table
from dtir.apis import RestorationInferencer
from dtir.core.errors import ConfigError
from dtir.models import SupervisedRestorer
from dtir.models.estimator import TaskEstimator

FOUND = [
    Try("noisy", "noisy", 0.95, 0.97, 20.0, 30.0),
    Try("noisy", "rainy", 0.45, 0.85, 20.0, 18.0),
    Try("hazy", "clean", 0.99, 0.01, 20.0, 20.0),
    Try("hazy", "hazy", 0.65, 0.95, 20.0, 22.0),
    Try("clean", "clean", 0.9, 0.1, 60.0, 60.0),
    Try("clean", "hazy", 0.55, 0.6, 60.0, 40.0),
]


def rows(sure) -> dict[str, list[str]]:
    lines = [line.strip("| ").split(" | ") for line in table(FOUND, "threshold", sure).splitlines()[2:]]
    return {line[0]: line[1:] for line in lines}


def test_a_threshold_leaves_alone_what_is_less_likely():
    by_threshold = rows({value: by_confidence(value) for value in (0.0, 0.5, 0.7)})
    assert by_threshold == {
        "0": ["75 %", "+2.50", "25.0 %", "-2.00", "50.0 / 40.0"],
        "0.5": ["50 %", "+3.00", "0.0 %", "+0.00", "50.0 / 40.0"],
        "0.7": ["25 %", "+2.50", "0.0 %", "+0.00", "60.0 / 60.0"],
    }


def test_two_damages_together_are_ground_too():
    by_threshold = rows({value: by_two(value, 0.7) for value in (0.8, 0.9, 0.96)})
    assert by_threshold == {
        "0.8": ["75 %", "+2.50", "25.0 %", "-2.00", "60.0 / 60.0"],
        "0.9": ["50 %", "+3.00", "0.0 %", "+0.00", "60.0 / 60.0"],
        "0.96": ["25 %", "+2.50", "0.0 %", "+0.00", "60.0 / 60.0"],
    }


def test_a_crop_taken_for_clean_is_not_changed_however_sure_the_estimate_is():
    assert Try("noisy", "clean", 1.0, 0.0, 20.0, 20.0).gain == 0.0


def test_pairs_are_told_by_folder_and_damage():
    found = [
        Try("noisy-cc", "motion-blurry", 0.8, 0.9, 30.0, 27.0),
        Try("noisy-cc", "motion-blurry", 0.9, 0.95, 30.0, 29.0),
        Try("noisy-cc", "noisy", 0.95, 0.96, 30.0, 33.0),
        Try("hazy", "hazy", 0.6, 0.7, 10.0, 20.0),
    ]
    lines = folder_table(found, by_confidence(0.7)).splitlines()[2:]
    assert lines == ["| noisy-cc | motion-blurry | 2 | -2.00 | -3.00 |", "| noisy-cc | noisy | 1 | +3.00 | +3.00 |"]


def test_clean_pictures_are_restored_by_the_odds_of_the_glance():
    restorer = SupervisedRestorer(backbone={"type": "TinyBackbone"}, tasks=["hazy", "clean"])
    glance = {"told": ["hazy"], "width": 4}
    restorer.estimator = TaskEstimator(2, 4, ("hazy", "clean"), least_confidence=0.75, glance=glance)
    for part, bias in ((restorer.estimator, [0.0, 9.0]), (restorer.estimator.glance, [0.0, 0.0])):
        torch.nn.init.zeros_(part.head.weight)
        part.head.bias.data = torch.tensor(bias)
    inferencer = RestorationInferencer(restorer.eval(), device="cpu")
    pictures = [np.full((20, 30, 3), 99, np.uint8)] * 2
    found = restored_by_odds(inferencer, pictures, [1.0, 5.0, 0.5])
    # As likely as not, five to one, and one to two.
    assert found == {1.0: [], 5.0: ["hazy", "hazy"], 0.5: []}
    assert restorer.estimator.glance.head.bias.tolist() == [0.0, 0.0]
    restorer.estimator.glance = None
    assert restored_by_odds(inferencer, pictures, [1.0]) == {1.0: []}
    with pytest.raises(ConfigError, match="has no glance"):
        restored_by_odds(inferencer, pictures, [0.5])
