import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

import dtir.testing.models  # noqa: F401 - registers TinyBackbone.
from dtir import cli
from dtir.apis.models.build import load_restorer
from dtir.apis.models.files import read_facts, write_model_file
from dtir.apis.models.names import find_model, packaged_models
from dtir.apis.models.packing import weigh_classes, with_estimator, with_glance, with_trials
from dtir.core.atomic import atomic_save
from dtir.core.errors import CheckpointError, ConfigError
from dtir.models import GlanceClassifier
from dtir.models.estimator import TaskEstimator
from dtir.models.glance import Glance
from dtir.registry import RESTORERS

TASKS = ["noisy", "low-light", "clean"]
CONFIG = {
    "type": "DiffusionRestorer",
    "network": {"type": "TimeConditioning", "backbone": {"type": "TinyBackbone", "width": 4}},
    "scheduler": {"type": "DDPMScheduler", "num_timesteps": 50},
    "tasks": TASKS,
}


@pytest.fixture
def checkpoint(tmp_path):
    """Of a training with an estimator, both with random weights."""
    torch.manual_seed(0)
    model = RESTORERS.build(CONFIG)
    model.set_matched_t({"noisy": 7, "low-light": 31, "clean": 0})
    estimator = {"state_dict": TaskEstimator(3, 4).state_dict(), "width": 4}
    path = tmp_path / "iter_9.pth"
    atomic_save({"meta": {"model_cfg": CONFIG}, "state_dict": model.state_dict(), "estimator": estimator}, path)
    return path


@pytest.fixture
def model_file(checkpoint, tmp_path):
    path = tmp_path / "small.safetensors"
    write_model_file(path, load_restorer(checkpoint), description="A tiny one", licence="Apache-2.0")
    return path


def outputs(path):
    model = load_restorer(path)
    lq = torch.rand(2, 3, 24, 20, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return model.restore(lq, torch.tensor([7, 31])), model.estimator(lq)


def test_the_header_describes_the_model_without_torch(model_file):
    facts = read_facts(model_file)
    assert (facts.name, facts.description, facts.licence) == ("small", "A tiny one", "Apache-2.0")
    assert facts.tasks == tuple(TASKS)
    assert facts.damages == ("noisy", "low-light")
    assert facts.steps == {"noisy": 7, "low-light": 31, "clean": 0}
    assert facts.estimator == {"width": 4, "classes": TASKS, "least_confidence": 0.5, "least_of_two": None}
    assert facts.parameters == sum(p.numel() for p in RESTORERS.build(CONFIG).parameters())
    assert facts.size == model_file.stat().st_size
    code = f"import dtir.apis.models.files as m, sys; m.read_facts('{model_file}'); print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_half_precision_halves_the_file_and_hardly_changes_the_output(checkpoint, model_file, tmp_path):
    whole = tmp_path / "whole.safetensors"
    write_model_file(whole, load_restorer(checkpoint), half=False)
    for exact, full, half in zip(outputs(checkpoint), outputs(whole), outputs(model_file), strict=True):
        assert torch.equal(exact, full)
        assert 0 < (exact - half).abs().max() < 2e-3
    assert all(t.dtype != torch.float32 for t in load_file(model_file).values())
    assert sum(t.nbytes for t in load_file(whole).values()) == pytest.approx(
        2 * sum(t.nbytes for t in load_file(model_file).values()), abs=64
    )


def test_a_file_written_from_a_file_is_the_same(model_file, tmp_path):
    again = write_model_file(tmp_path / "again.safetensors", load_restorer(model_file))
    assert again.sha256 == read_facts(model_file).sha256


def changed(path, tensors=None, **header):
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        metadata = {**file.metadata(), **header}
    save_file(tensors or load_file(path), path, {key: value for key, value in metadata.items() if value is not None})
    return path


def test_a_changed_weight_is_found(model_file):
    tensors = load_file(model_file)
    tensors["model.network.backbone.head.bias"][0] += 1
    with pytest.raises(CheckpointError, match="checksum of its tensors is wrong"):
        load_restorer(changed(model_file, tensors))


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_a_file_that_ends_early_is_named(model_file, size):
    model_file.write_bytes(model_file.read_bytes()[:size])
    with pytest.raises(CheckpointError, match=r"small\.safetensors.*damaged"):
        load_restorer(model_file)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"format": "pt"}, "does not describe its model"),
        ({"steps": None}, "incomplete or damaged.*steps"),
        ({"tasks": "["}, "incomplete or damaged"),
        ({"tasks": "3"}, "incomplete or damaged"),
        ({"config": json.dumps({**CONFIG, "type": "NoSuchRestorer"})}, "not known here"),
        ({"config": json.dumps({**CONFIG, "tasks": ["noisy"]})}, "belongs to another model"),
    ],
)
def test_headers_that_do_not_fit_are_explained(model_file, header, message):
    with pytest.raises(CheckpointError, match=message):
        load_restorer(changed(model_file, **header))


def test_a_weight_beyond_16_bits_is_refused(checkpoint, tmp_path):
    model = load_restorer(checkpoint)
    with torch.no_grad():
        model.network.backbone.head.bias[0] = 1e6
    with pytest.raises(CheckpointError, match=r"head\.bias has values that are not finite in 16 bits"):
        write_model_file(tmp_path / "a.safetensors", model)
    assert not (tmp_path / "a.safetensors").exists()


def test_an_estimator_joins_from_another_checkpoint(checkpoint, model_file):
    state = torch.load(checkpoint, weights_only=True)
    atomic_save({key: state[key] for key in ("meta", "state_dict")}, checkpoint)
    model = load_restorer(checkpoint)
    assert model.estimator is None
    with pytest.raises(CheckpointError, match="no estimator"):
        with_estimator(model, checkpoint)
    with_estimator(model, model_file, least_confidence=0.7, least_of_two=0.9)
    assert model.estimator.classes == tuple(TASKS)
    assert (model.estimator.least_confidence, model.estimator.least_of_two) == (0.7, 0.9)
    model.estimator.steps = {"noisy": (0, model.num_timesteps + 1)}
    with pytest.raises(CheckpointError, match=f"knows step {model.num_timesteps + 1}, and the restorer has"):
        with_estimator(model)
    with pytest.raises(ConfigError, match="no probability"):
        with_estimator(model, model_file, least_confidence=7)
    with pytest.raises(ConfigError, match="least_of_two=-1 is no probability"):
        with_estimator(model, model_file, least_of_two=-1)


def test_damages_that_are_tried_out_join_a_file(model_file, tmp_path):
    model = with_trials(load_restorer(model_file), {"noisy": 0.6})
    facts = write_model_file(tmp_path / "new.safetensors", model)
    assert facts.estimator["trials"] == {"noisy": 0.6}
    assert load_restorer(tmp_path / "new.safetensors").estimator.trials == {"noisy": 0.6}
    with pytest.raises(ConfigError, match=r"does not restore 'nosy'; it restores .*Did you mean 'noisy'"):
        with_trials(model, {"nosy": 0.6})
    for share in (0, 1.5):
        with pytest.raises(ConfigError, match=f"share of 'noisy' is {share}; expected one above 0"):
            with_trials(model, {"noisy": share})
    model.estimator = None
    with pytest.raises(CheckpointError, match="no estimator of the task"):
        with_trials(model, {"noisy": 0.6})


def test_the_command_has_damages_tried_out(model_file, tmp_path, capsys):
    out = tmp_path / "new.safetensors"
    assert cli.main(["models", "pack", str(model_file), str(out), "--trials", "noisy=0.6"]) == 0
    assert read_facts(out).estimator["trials"] == {"noisy": 0.6}
    with pytest.raises(SystemExit):
        cli.main(["models", "pack", str(model_file), str(out), "--trials", "noisy"])
    assert "'noisy' is not of the form TASK=NUMBER" in capsys.readouterr().err


def test_odds_of_classes_are_multiplied(model_file):
    estimator = with_estimator(load_restorer(model_file)).estimator
    lq = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        before = estimator(lq).softmax(1)[0]
        weigh_classes(estimator, {TASKS[0]: 0.1})
        after = estimator(lq).softmax(1)[0]
    torch.testing.assert_close(after[0] / after[1], 0.1 * before[0] / before[1])
    torch.testing.assert_close(after[2] / after[1], before[2] / before[1])
    with pytest.raises(ConfigError, match=r"no class 'nosy'; it has .*Did you mean 'noisy'"):
        weigh_classes(estimator, {"nosy": 0.1})
    with pytest.raises(ConfigError, match="positive number"):
        weigh_classes(estimator, {TASKS[0]: 0.0})


def test_an_estimator_that_was_trained_by_itself_joins(model_file, tmp_path):
    config = {"type": "TaskClassifier", "tasks": TASKS, "width": 3}
    classifier = RESTORERS.build(config)
    atomic_save({"meta": {"model_cfg": config}, "state_dict": classifier.state_dict()}, tmp_path / "estimator.pth")
    model = with_estimator(load_restorer(model_file), tmp_path / "estimator.pth")
    facts = write_model_file(tmp_path / "joined.safetensors", model)
    assert facts.estimator["classes"] == TASKS
    joined = load_restorer(tmp_path / "joined.safetensors").estimator
    lq = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    assert (joined(lq) - classifier.estimator(lq)).abs().max() < 2e-3


def glance_of(tasks, path):
    config = {"type": "GlanceClassifier", "tasks": tasks, "width": 4}
    classifier = GlanceClassifier(tasks, width=4)
    atomic_save({"meta": {"model_cfg": config}, "state_dict": classifier.state_dict()}, path)
    return classifier.estimator


def test_a_glance_that_was_trained_by_itself_joins_the_estimator(model_file, tmp_path):
    glance = glance_of(("clean", TASKS[1]), tmp_path / "glance.pth")
    # Never sure by itself.
    model = with_estimator(load_restorer(model_file), least_confidence=1.0)
    with_glance(model, tmp_path / "glance.pth")
    facts = write_model_file(tmp_path / "joined.safetensors", model, half=False)
    assert facts.estimator["glance"] == {"told": [TASKS[1]], "width": 4}
    assert facts.parameters == read_facts(model_file).parameters
    joined, lq = load_restorer(tmp_path / "joined.safetensors").estimator, torch.rand(1, 3, 40, 50)
    assert torch.equal(joined.glance(lq), glance(lq))
    told, alone = joined(lq), load_restorer(model_file).estimator(lq).log_softmax(1)
    torch.testing.assert_close(told, glance.revise(alone, lq, TASKS, torch.tensor([False])))
    assert not torch.allclose(told, alone, atol=1e-2)


def test_odds_of_a_glance_are_multiplied():
    glance, lq = Glance(("hazy", "rainy"), 4), torch.rand(1, 3, 20, 30)
    with torch.no_grad():
        before = glance(lq).softmax(1)[0]
        weigh_classes(glance, {"rainy": 0.25})
        after = glance(lq).softmax(1)[0]
    ratios = (after / after[0]) / (before / before[0])
    torch.testing.assert_close(ratios, torch.tensor([1.0, 1.0, 0.25]))
    with pytest.raises(ConfigError, match="the glance has no class 'clean'; it has hazy, rainy"):
        weigh_classes(glance, {"clean": 0.25})


def test_a_glance_that_does_not_fit_is_refused(model_file, tmp_path):
    model = load_restorer(model_file)
    with pytest.raises(CheckpointError, match="is not of a GlanceClassifier"):
        with_glance(model, model_file)
    glance_of(("clean", "foggy"), tmp_path / "glance.pth")
    with pytest.raises(CheckpointError, match="give it to a model as --glance"):
        with_estimator(load_restorer(model_file), tmp_path / "glance.pth")
    with pytest.raises(CheckpointError, match="tells foggy, which the estimator does not know"):
        with_glance(model, tmp_path / "glance.pth")
    model.estimator = None
    with pytest.raises(CheckpointError, match="has no estimator"):
        with_glance(model, tmp_path / "glance.pth")


def test_models_are_found_by_name_file_and_folder(model_file, checkpoint, tmp_path):
    packaged = tmp_path / "packaged"
    packaged.mkdir()
    universal = packaged / "universal.safetensors"
    universal.write_bytes(model_file.read_bytes())
    assert packaged_models(packaged) == {"universal": universal}
    assert find_model(None, packaged) == find_model("universal", packaged) == universal
    assert find_model(str(model_file), packaged) == model_file
    (tmp_path / "last_checkpoint").write_text("iter_9.pth")
    assert find_model(tmp_path, packaged) == checkpoint
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert find_model(str(tmp_path), packaged) == tmp_path / "model.safetensors"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("univrsal", "Did you mean 'universal'.*dtir models"),
        ("none.pth", r"no model or checkpoint at 'none\.pth'"),
        ("packaged", "neither model.safetensors nor last_checkpoint"),
    ],
)
def test_what_is_no_model_is_explained(tmp_path, monkeypatch, model, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "packaged").mkdir()
    (tmp_path / "packaged" / "universal.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=message):
        find_model(model, tmp_path / "packaged")


def test_an_installation_without_models_says_so(tmp_path):
    with pytest.raises(CheckpointError, match=r"'universal' is not there.*--model FILE"):
        find_model(None, tmp_path)


def test_the_estimator_settings_are_those_of_the_file(model_file):
    estimator = load_restorer(model_file).estimator
    assert isinstance(estimator, TaskEstimator)
    assert estimator.settings() == read_facts(model_file).estimator
    assert outputs(model_file)[1].isfinite().all()


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"model_cfg": {"type": "SupervisedRestorer"}}, "this version of dtir"),
        ({"model_cfg": {"type": "TaskClassifier", "tasks": ["noisy"], "colours": 9}}, "this version of dtir"),
        (None, "does not describe its model"),
        ({"model_cfg": [1]}, "does not describe its model"),
    ],
)
def test_a_description_that_cannot_be_built_is_explained(tmp_path, meta, message):
    torch.save({"meta": meta, "state_dict": {}}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=message):
        load_restorer(tmp_path / "x.pth")
