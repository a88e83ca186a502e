import builtins
import json

import numpy as np
import pytest

import dtir.testing.models  # noqa: F401 - registers TinyBackbone.
from dtir import RestorationInferencer
from dtir.core.errors import CheckpointError, ConfigError
from dtir.registry import RESTORERS

CONFIG = {"type": "SupervisedRestorer", "backbone": {"type": "TinyBackbone", "width": 2}, "tasks": ["hazy"]}
PICTURE = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)


@pytest.fixture
def inferencer():
    model = RESTORERS.build(CONFIG)
    model.model_cfg = CONFIG
    return RestorationInferencer(model, device="cpu")


def test_what_was_saved_comes_back(inferencer, tmp_path):
    folder = inferencer.save_pretrained(tmp_path / "fog", description="Haze off", licence="CC0-1.0")
    again = RestorationInferencer.from_pretrained(folder, device="cpu")
    np.testing.assert_allclose(again(PICTURE, "hazy"), inferencer(PICTURE, "hazy"), atol=1)
    config = json.loads((folder / "config.json").read_text())
    assert (config["name"], config["tasks"], config["config"]) == ("fog", ["hazy"], CONFIG)
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: dtir\n")
    assert "license: cc0-1.0" in card
    assert "Haze off" in card


def test_a_repository_is_read_through_the_hub(inferencer, tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub (extra hub) is not installed")
    folder = inferencer.save_pretrained(tmp_path / "fog")
    asked = []

    def download(repo, file, revision, library_name):
        asked.append((repo, file, revision))
        return str(folder / file)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    assert RestorationInferencer.from_pretrained("me/fog", "v2", device="cpu").tasks == ("hazy",)
    assert asked == [("me/fog", "model.safetensors", "v2")]


def test_a_hub_that_cannot_be_reached_is_said(tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub", reason="huggingface_hub (extra hub) is not installed")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"no model 'me/fog'.*the hub says"):
        RestorationInferencer.from_pretrained("me/fog")


def test_without_the_extra_its_name_is_said(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("huggingface_hub"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'dtir\[hub\]'"):
        RestorationInferencer.from_pretrained("me/fog")
