import pytest
import torch

import dtir.testing.models  # noqa: F401 - registers TinyBackbone.
from dtir import cli
from dtir.apis.models.build import load_restorer
from dtir.apis.models.files import read_facts
from dtir.core.atomic import atomic_save
from dtir.registry import RESTORERS

CONFIG = {"type": "SupervisedRestorer", "backbone": {"type": "TinyBackbone", "width": 2}, "tasks": ["hazy"]}


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "iter_1.pth"
    atomic_save({"meta": {"model_cfg": CONFIG}, "state_dict": RESTORERS.build(CONFIG).state_dict()}, path)
    return path


def test_a_checkpoint_is_packed_and_then_listed(checkpoint, tmp_path, monkeypatch, capsys):
    target = tmp_path / "mine.safetensors"
    about = ["--description", "Haze off", "--licence", "CC0-1.0", "--name", "fog", "--full"]
    assert cli.main(["models", "pack", str(checkpoint), str(target), *about]) == 0
    packed = capsys.readouterr().out
    assert "fog  Haze off" in packed
    assert "tasks: hazy; without an estimator" in packed
    assert "licence: CC0-1.0" in packed
    assert read_facts(target).name == "fog"
    assert torch.load(checkpoint, weights_only=True)["meta"]["model_cfg"] == read_facts(target).config
    monkeypatch.setattr("dtir.apis.models.names.packaged_models", lambda: {"fog": target})
    target.with_suffix(".md").write_text("# Fog")
    assert cli.main(["models"]) == 0
    listed = capsys.readouterr().out
    assert "fog  Haze off" in listed
    assert f"card: {tmp_path / 'mine.md'}" in listed


def test_the_models_of_the_package_are_listed_when_an_index_cannot_be_read(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DTIR_MODEL_INDEX", str(tmp_path / "nowhere.json"))
    assert cli.main(["models"]) == 2
    printed = capsys.readouterr()
    assert "universal" in printed.out
    assert "nowhere.json' cannot be read" in printed.err


def test_small_pictures_are_averaged_as_the_file_says(checkpoint, tmp_path, capsys):
    mine, again = tmp_path / "mine.safetensors", tmp_path / "again.safetensors"
    config = {
        **CONFIG,
        "type": "DiffusionRestorer",
        "network": {"type": "TimeConditioning", "backbone": CONFIG["backbone"]},
    }
    del config["backbone"]
    diffusion = tmp_path / "diffusion.pth"
    atomic_save({"meta": {"model_cfg": config}, "state_dict": RESTORERS.build(config).state_dict()}, diffusion)
    assert cli.main(["models", "pack", str(diffusion), str(mine), "--flips-up-to", "400"]) == 0
    assert load_restorer(mine).flips_up_to == 400
    assert cli.main(["models", "pack", str(mine), str(again)]) == 0
    assert load_restorer(again).flips_up_to == 400
    assert cli.main(["models", "pack", str(checkpoint), str(again), "--flips-up-to", "400"]) == 2
    assert "SupervisedRestorer cannot be told to average small pictures" in capsys.readouterr().err


def test_a_wrong_ending_is_refused(checkpoint, tmp_path, capsys):
    assert cli.main(["models", "pack", str(checkpoint), str(tmp_path / "mine.pth")]) == 2
    assert "ends in .safetensors" in capsys.readouterr().err


def test_a_threshold_needs_an_estimator(checkpoint, tmp_path, capsys):
    target = str(tmp_path / "mine.safetensors")
    assert cli.main(["models", "pack", str(checkpoint), target, "--least-confidence", "0.6"]) == 2
    assert "no estimator" in capsys.readouterr().err
    assert cli.main(["models", "pack", str(checkpoint), target, "--odds", "noisy=0.5"]) == 2
    assert "no estimator of the task, which --odds is of" in capsys.readouterr().err
