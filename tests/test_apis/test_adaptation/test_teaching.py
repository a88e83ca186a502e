"""Learning a task later from a few pairs."""

import copy
import dataclasses
import json
import math
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

from dtir.apis import RestorationInferencer
from dtir.apis.adaptation.files import save_adapted
from dtir.apis.adaptation.importance import OutputImportance
from dtir.apis.adaptation.settings import AdaptationSettings
from dtir.apis.adaptation.teaching import adapt, split
from dtir.apis.models.build import load_restorer
from dtir.cli.main import main
from dtir.core.errors import ConfigError, DatasetError, TaskError
from dtir.models.estimator import TaskEstimator
from dtir.registry import RESTORERS, SCOPE

CONFIG = {
    "type": "DiffusionRestorer",
    "tasks": ["noisy", "hazy"],
    "network": {
        "type": "TimeConditioning",
        "embed_dim": 8,
        "backbone": {"type": "NAFNet", "width": 4, "enc_blk_nums": [1], "middle_blk_num": 1, "dec_blk_nums": [1]},
    },
}
QUICK = {"iters": 20, "interval": 10, "batch_size": 2, "patch": 16, "rank": 2, "lr": 2e-2}


@pytest.fixture(name="model", scope="module")
def model_fixture(tmp_path_factory) -> Path:
    """A checkpoint whose network does something at every step, with an estimator."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(SCOPE):
        model = RESTORERS.build(CONFIG)
    model.set_matched_t({"noisy": 6, "hazy": 40})
    for name, p in model.named_parameters():
        if "to_modulation" in name or name.endswith(("beta", "gamma")):
            torch.nn.init.normal_(p, std=0.1)
    estimator = TaskEstimator(2, width=4)
    path = tmp_path_factory.mktemp("model") / "old.pth"
    state = {"state_dict": estimator.state_dict(), "width": 4}
    torch.save({"meta": {"model_cfg": CONFIG}, "state_dict": model.state_dict(), "estimator": state}, path)
    return path


@pytest.fixture(name="pairs", scope="module")
def pairs_fixture(tmp_path_factory) -> Path:
    """Six darkened pictures."""
    folder, rng = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    for kind in ("LQ", "GT"):
        (folder / kind).mkdir()
    for k in range(6):
        gt = cv2.GaussianBlur(rng.uniform(0, 255, (24, 28, 3)), (0, 0), 3)
        gt = (gt - gt.min()) / np.ptp(gt) * 255
        for kind, picture in (("LQ", 0.5 * gt), ("GT", gt)):
            assert cv2.imwrite(str(folder / kind / f"{k}.png"), picture.round().astype(np.uint8))
    return folder


@pytest.fixture(name="learned", scope="module")
def learned_fixture(model, pairs):
    return adapt(model, pairs, "dark", AdaptationSettings(**QUICK))


def test_the_task_is_learned_and_old_ones_stay_bit_for_bit(model, learned):
    assert np.mean(learned.after) > np.mean(learned.before) + 0.5
    old, new = load_restorer(model), learned.restorer
    assert new.tasks == ("noisy", "hazy", "dark")
    assert new.matched_t.tolist() == [6, 40, learned.step]
    x = torch.rand(2, 3, 16, 16)
    t = torch.tensor([6, 40])
    assert torch.equal(new.restore(x, t), old.restore(x, t))
    assert set(learned.drift.values()) == {0.0}
    assert len(learned.held_out) == 1
    assert not {*learned.held_out} & {*learned.trained}


def test_it_depends_on_the_seed_alone(model, pairs, learned):
    again = adapt(model, pairs, "dark", AdaptationSettings(**QUICK))
    state, other = learned.restorer.state_dict(), again.restorer.state_dict()
    assert all(torch.equal(state[key], other[key]) for key in state)


def test_training_ends_where_the_held_out_pairs_stop_gaining_and_the_best_is_kept(model, pairs):
    settings = AdaptationSettings(**{**QUICK, "iters": 100, "interval": 1, "lr": 50.0})
    result = adapt(model, pairs, "dark", settings)
    best = max(score for _, score, _ in result.history)
    assert result.history[-1][0] < 100
    assert np.mean(result.after) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_written_restores_as_what_was_learned(suffix, model, learned, tmp_path):
    path = tmp_path / f"new{suffix}"
    save_adapted(learned, path)
    inferencer = RestorationInferencer(path, device="cpu")
    assert inferencer.tasks == ("noisy", "hazy", "dark")
    x, t = torch.rand(1, 3, 16, 16), torch.tensor([learned.step])
    assert torch.equal(inferencer.restorer.restore(x, t), learned.restorer.restore(x, t))
    old = load_restorer(model).estimator
    logits = inferencer.restorer.estimator(x)
    assert torch.equal(logits[:, :2], old(x))
    assert (logits[:, 2:] < logits[:, :2].min()).all()


def test_a_checkpoint_keeps_an_estimator_of_steps(learned, tmp_path):
    estimator = TaskEstimator(2, 4, ("noisy", "hazy"), steps={"noisy": (1, 2, 5)})
    own = dataclasses.replace(learned, restorer=copy.deepcopy(learned.restorer))
    own.restorer.estimator = estimator
    save_adapted(own, tmp_path / "new.pth")
    again = load_restorer(tmp_path / "new.pth").estimator
    assert again.classes == ("noisy", "hazy", "dark")
    assert again.steps == estimator.steps
    x = torch.rand(1, 3, 16, 16)
    assert torch.equal(again.both(x)[1], estimator.both(x)[1])


def test_a_checkpoint_keeps_a_glance(learned, tmp_path):
    glance = {"told": ["hazy"], "width": 4}
    estimator = TaskEstimator(
        2, 4, ("noisy", "hazy"), least_confidence=1.0, least_of_two=1.5, trials={"hazy": 0.5}, glance=glance
    )
    own = dataclasses.replace(learned, restorer=copy.deepcopy(learned.restorer))
    own.restorer.estimator = estimator
    save_adapted(own, tmp_path / "new.pth")
    again, x = load_restorer(tmp_path / "new.pth").estimator, torch.rand(1, 3, 16, 16)
    assert torch.equal(again.glance(x), estimator.glance(x))
    assert (again.least_confidence, again.least_of_two, again.trials) == (1.0, 1.5, {"hazy": 0.5})
    torch.testing.assert_close(again(x)[:, :2], estimator(x))
    estimator.glance = None
    assert not torch.allclose(again(x)[:, :2], estimator(x).log_softmax(1), atol=1e-2)
    assert (again(x)[:, 2] < -100).all()


def test_a_second_task_is_learned_on_top(pairs, learned, tmp_path):
    first = tmp_path / "first.safetensors"
    save_adapted(learned, first)
    second = adapt(first, pairs, "dark too", AdaptationSettings(**{**QUICK, "iters": 2, "interval": 2}))
    assert second.restorer.tasks == ("noisy", "hazy", "dark", "dark too")
    assert second.step != learned.step
    assert set(second.drift.values()) == {0.0}


def test_importance_keeps_the_whole_network_near_what_it_was(model, pairs):
    moved = {}
    for weight in (0.0, 1e6):
        free = {"method": "full", "lr": 2e-3, "replay_share": 0.0, "tolerance": math.inf}
        settings = AdaptationSettings(**{**QUICK, **free, "importance": weight})
        moved[weight] = max(adapt(model, pairs, "dark", settings).drift.values())
    assert 0 < moved[1e6] < moved[0.0]


def test_the_whole_network_learns_within_what_old_tasks_may_lose(model, pairs):
    settings = {**QUICK, "method": "full", "lr": 2e-2}
    free = adapt(model, pairs, "dark", AdaptationSettings(**settings, tolerance=10.0))
    kept = adapt(model, pairs, "dark", AdaptationSettings(**settings))
    assert max(free.lost.values()) > 0.2
    assert 0 < max(kept.lost.values()) <= 0.1
    assert np.mean(kept.after) > np.mean(kept.before) + 0.5


def test_the_importance_term_is_the_gradient_of_its_quadratic():
    torch.manual_seed(0)
    network = torch.nn.Module()
    network.gain = torch.nn.Parameter(torch.tensor([0.5, 2.0]))
    network.forward = lambda x, t: x * (1 - network.gain[0]) - network.gain[1] * t.view(-1, 1, 1, 1)
    x, t = torch.rand(3, 3, 4, 4), torch.tensor([1.0])
    term = OutputImportance(network, x, t, weight=3.0)
    residual = x * 0.5 + 2.0
    squares = torch.stack([(residual * x).sum((1, 2, 3)), residual.sum((1, 2, 3))], 1).square().sum(0)
    with torch.no_grad():
        network.gain += torch.tensor([0.1, -0.2])
    network.gain.grad = torch.zeros(2)
    term.add_gradient()
    torch.testing.assert_close(network.gain.grad, 3.0 * squares / squares.mean() * torch.tensor([0.1, -0.2]))


def test_every_fifth_pair_is_held_out():
    train, held = split(30, seed=0)
    assert (len(train), len(held)) == (24, 6)
    assert sorted(train + held) == list(range(30))
    assert split(30, seed=1) != (train, held)


@pytest.mark.parametrize(
    ("name", "reason"), [("", "name is empty"), ("hazy", "has a task 'hazy' already"), ("a@b", "'a@b' has a @ in it")]
)
def test_what_is_wrong_with_a_name_is_said(name, reason, model, pairs):
    with pytest.raises(TaskError, match=reason):
        adapt(model, pairs, name)


@pytest.mark.parametrize(("there", "missing"), [("", ""), ("GT", "LQ"), ("LQ", "GT")])
def test_missing_folders_of_pairs_are_named_before_the_model_is_read(there, missing, tmp_path):
    root = tmp_path / "pairs"
    if there:
        (root / there).mkdir(parents=True)
    with pytest.raises(DatasetError, match=f"no folder '{re.escape(str(root / missing))}': give a folder of pairs"):
        adapt(tmp_path / "no_model.pth", root, "dark")


def test_wrong_settings_are_named(tmp_path):
    with pytest.raises(ConfigError, match="expected one of adapters, full"):
        AdaptationSettings(method="prompt")
    with pytest.raises(ConfigError, match="must be positive"):
        AdaptationSettings(iters=0)
    with pytest.raises(ConfigError, match=r"replay_share=1, tolerance=0\.1; expected a share from 0 to less than 1"):
        AdaptationSettings(replay_share=1)
    with pytest.raises(DatasetError, match="2 pairs are too few"):
        split(2, seed=0)


def test_the_command_writes_model_and_page(model, pairs, tmp_path, capsys):
    out = tmp_path / "new.pth"
    command = ["adapt", str(model), "--pairs", str(pairs), "--name", "dark", "--out", str(out), "--device", "cpu"]
    quick = ["--iters", "2", "--interval", "1", "--batch-size", "2", "--patch", "16"]
    assert main([*command, *quick]) == 0
    said = capsys.readouterr()
    assert "old tasks: bit for bit as before" in said.out
    assert "1 of at most 2 iterations" in said.err
    text = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert '<div class="charts"><figure class="chart">' in text
    assert "learned from 5 pairs" in text
    assert text.count("data:image/png") == 3
    kept = tmp_path / "new" / "report" / "pictures"
    (entry,) = json.loads((kept / "pictures.json").read_text(encoding="utf-8"))
    for kind, folder in (("lq", "LQ"), ("gt", "GT")):
        shown = cv2.imread(str(kept / entry["files"][kind]))
        assert np.array_equal(shown, cv2.imread(str(pairs / folder / f"{entry['name']}.png")))
    assert main([*command, *quick]) == 2
    assert "exists" in capsys.readouterr().err


def test_the_command_says_what_old_tasks_lost(model, pairs, tmp_path, capsys):
    command = ["adapt", str(model), "--pairs", str(pairs), "--name", "dark", "--out", str(tmp_path / "new.pth")]
    quick = [
        "--iters",
        "2",
        "--interval",
        "1",
        "--batch-size",
        "2",
        "--patch",
        "16",
        "--method",
        "full",
        "--lr",
        "1e-3",
    ]
    assert main([*command, *quick, "--device", "cpu"]) == 0
    assert "dB on the pairs that stand for them" in capsys.readouterr().out
    page = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert "in levels of 255, and loss in dB" in page
    assert main([*command, *quick, "--overwrite", "--replay", str(tmp_path)]) == 2
    assert "has no folder of an old task" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "message"), [("file/new.pth", "is a file; name a folder"), ("new", "where the report would go")]
)
def test_an_output_that_cannot_be_is_said_before_any_training(
    model, pairs, tmp_path, capsys, monkeypatch, out, message
):
    monkeypatch.setattr("dtir.apis.adaptation.teaching.adapt", lambda *_, **__: pytest.fail("it trained"))
    (tmp_path / "file").write_text("")
    command = ["adapt", str(model), "--pairs", str(pairs), "--name", "dark", "--out", str(tmp_path / out)]
    assert main(command) == 2
    assert message in capsys.readouterr().err
