"""model-index.yml and the tables of docs/zoo.md are those that the results make, and what they name is there."""

import pytest
import torch
import yaml

from benchmarks.lab import REPO
from benchmarks.model_index import INDEX, PAGE, build_index, index_text, page_text
from dtir.apis.models.files import read_model_file

AGAIN = "write it again: python -m benchmarks.model_index"


@pytest.fixture(scope="module")
def index() -> dict:
    return build_index()


def test_the_index_is_that_of_the_results(index):
    assert yaml.safe_load(INDEX.read_text(encoding="utf-8")) == index, AGAIN
    assert INDEX.read_text(encoding="utf-8") == index_text(index), AGAIN


def test_the_page_is_that_of_the_index(index):
    text = PAGE.read_text(encoding="utf-8")
    assert page_text(text, index) == text, AGAIN


def test_what_the_index_names_is_there(index):
    for model in index["Models"]:
        data = model["Metadata"]
        named = [
            model["Config"],
            model["Weights"],
            *(data.get(key) for key in ("Settings", "Scoreboard", "Model Card")),
        ]
        assert [path for path in named if path and not (REPO / path).is_file()] == []
        assert model["Results"][0]["Metrics"]["PSNR"] > 0


def test_the_parameters_are_those_of_the_weights(index):
    _, tensors, _ = read_model_file(REPO / index["Models"][0]["Weights"])
    weights = sum(value.numel() for key, value in tensors.items() if torch.is_floating_point(value))
    assert index["Models"][0]["Metadata"]["Parameters"] == pytest.approx(weights, rel=0.001)
