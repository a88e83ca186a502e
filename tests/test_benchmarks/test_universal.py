"""The packaged model in one command: the steps fit together, and are done once."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

from benchmarks import universal
from dtir.apis import RestorationInferencer
from dtir.apis.models.files import read_facts
from dtir.core.errors import ConfigError
from dtir.registry import RESTORERS, SCOPE


@pytest.fixture
def trained(monkeypatch):
    """Names of the trainings that were carried out, which here only read their start and change all weights a bit."""
    names = []

    def train(config, folder, threads):
        path = folder / "iter_1.pth"
        if path.is_file():
            return path
        names.append(folder.name)
        settings = config.model.to_dict()
        with DefaultScope.overwrite_default_scope(SCOPE):
            model = RESTORERS.build(settings)
        if config.get("load_from"):
            model.load_state_dict(torch.load(config.load_from, weights_only=True)["state_dict"])
        generator = torch.Generator().manual_seed(len(names))
        with torch.no_grad():
            for value in model.parameters():
                value += 1e-3 * torch.randn(value.shape, generator=generator)
        folder.mkdir(parents=True)
        torch.save({"meta": {"model_cfg": settings}, "state_dict": model.state_dict()}, path)
        return path

    monkeypatch.setattr(universal, "train", train)
    return names


def test_its_steps_make_a_model_that_restores_and_none_is_done_twice(trained, tmp_path, capsys):
    assert universal.main([str(tmp_path), "--share", "0.001"]) == 0
    trainings = [step.name for step in universal.STEPS if isinstance(step, universal.Training)]
    assert trained == trainings
    path = tmp_path / "universal.safetensors"
    facts = read_facts(path)
    assert facts.estimator
    # As the package's.
    assert facts.parameters < 4_000_000
    inferencer = RestorationInferencer(path)
    picture = np.random.default_rng(0).random((32, 40, 3), dtype=np.float32)
    assert np.isfinite(inferencer.restore_array(picture, task="shadowed")).all()
    assert inferencer.judge.judgement.trials == {"shadowed": 0.6}
    capsys.readouterr()
    (tmp_path / "mean.pth").unlink()
    assert universal.main([str(tmp_path), "--share", "0.001"]) == 0
    assert trained == trainings
    assert (tmp_path / "mean.pth").is_file()
    told = capsys.readouterr().out
    assert f"[1/{len(universal.STEPS)}] small: 16 iterations of configs/models/universal_nafnet.py" in told
    assert f"{tmp_path / 'small' / 'out.log'}" in told


def test_each_step_follows_what_it_needs(capsys):
    known = {}
    for step in universal.STEPS:
        assert known.keys() >= set(step.needs())
        assert step.name not in known
        known[step.name] = None
    assert universal.main(["unused", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "small: 15,644 iterations of configs/models/universal_nafnet.py; batch 8; 8,000 of 64 x 64; 7,644 of 96 x 96"
    )
    assert [line.partition(":")[0] for line in lines] == [*known, "DiffusionRestorer", "TaskClassifier"]


def test_its_length_is_counted_in_pixels_of_all_stages(monkeypatch):
    steps = (
        universal.Training("first", "universal_nafnet", (800, 80)),
        universal.Training("frames", "universal_nafnet_frames", (30, 24), "first"),
        universal.Training("glance", "universal_glance", (10,)),
    )
    monkeypatch.setattr(universal, "STEPS", steps)
    assert universal.plan(1.0).splitlines() == [
        "first: 880 iterations of configs/models/universal_nafnet.py; batch 8; 800 of 64 x 64; 80 of 96 x 96",
        "frames: 54 iterations of configs/models/universal_nafnet_frames.py, from first; batch 4; 54 of 160 x 160",
        "glance: 10 iterations of configs/models/universal_glance.py; batch 32",
        # 800 * (64 / 96)^2 + 80 + 54 * 4 * 160^2 / (8 * 96^2)
        "DiffusionRestorer: as many pixels as 511 iterations of batch 8, 96 x 96",
    ]


def test_a_training_has_its_share_of_iterations(monkeypatch, tmp_path):
    configs = []
    monkeypatch.setattr(universal, "train", lambda config, folder, threads: configs.append((config, folder, threads)))
    step = universal.Training("level", "universal_nafnet_gpu", (2_500,), "before", {"lr": 5e-4}, seed=7)
    step.make(tmp_path, {"before": tmp_path / "before.pth"}, 0.01, 2)
    step.make(tmp_path, {"before": tmp_path / "before.pth"}, 1e-6, 2)
    (config, folder, threads), (short, *_) = configs
    assert (folder, threads) == (tmp_path / "level", 2)
    (stage,) = config.train_cfg.stages
    assert (stage.iters, stage.warmup_iters, stage.lr, stage.patch) == (25, 24, 5e-4, 160)
    assert config.load_from == str(tmp_path / "before.pth")
    assert config.randomness.seed == 7
    assert (short.train_cfg.stages[0].iters, short.train_cfg.stages[0].warmup_iters) == (1, 0)


def test_a_file_is_made_again_where_what_it_is_made_of_is_newer(tmp_path):
    def copy(words):
        (tmp_path / "out.pth").write_text(Path(words[0]).read_text())
        return 0

    start = tmp_path / "start.pth"
    step = universal.Tool("out.pth", copy, "a copy", ("{start}", "OUT"))
    for text, age, found in (("old", 20, "old"), ("older", 30, "old"), ("new", -20, "new")):
        start.write_text(text)
        os.utime(start, (time.time() - age,) * 2)
        assert step.make(tmp_path, {"start": start}, 1.0, 1).read_text() == found


def test_the_plan_says_what_differs_from_the_config():
    step = universal.Training("more", "universal_nafnet_large", (10,), "before", {"lr": 5e-4, "patch": 96}, seed=7)
    line = (
        "more: 10 iterations of configs/models/universal_nafnet_large.py, from before, with lr 0.0005, patch 96, seed 7"
    )
    assert universal.described(step, 1.0) == line


def test_a_step_that_fails_ends_it(tmp_path):
    step = universal.Tool("out.pth", lambda words: 2, "nothing", ("OUT",))
    with pytest.raises(ConfigError, match=r"step 'out\.pth' failed"):
        step.make(tmp_path, {}, 1.0, 1)


@pytest.mark.parametrize("share", ["0", "1.5", "-1", "x", "nan"])
def test_a_share_is_above_nothing_and_at_most_all(share, capsys):
    with pytest.raises(SystemExit) as ended:
        universal.main(["out", "--share", share])
    assert ended.value.code == 2
    assert f"'{share}'; expected a number above 0 and at most 1" in capsys.readouterr().err
