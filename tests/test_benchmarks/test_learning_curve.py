"""The learning curve of a training that was stopped and resumed."""

import json
import sys

import pytest

from benchmarks import learning_curve


def run(work_dir, name, losses):
    folder = work_dir / name / "vis_data"
    folder.mkdir(parents=True)
    lines = [json.dumps({"step": step, "loss_restoration": loss, "lr": 1e-3, "stage": 0}) for step, loss in losses]
    (folder / "scalars.json").write_text("\n".join(lines) + "\n")


def test_a_resumed_run_goes_on_where_the_first_one_was_saved(tmp_path, monkeypatch, capsys):
    run(tmp_path / "model", "20260101_000000", [(50, 1.0), (100, 0.9), (150, 0.8)])
    run(tmp_path / "model", "20260102_000000", [(150, 0.7), (200, 0.6)])
    scalars = learning_curve.read_scalars(tmp_path / "model")
    assert [(entry["step"], entry["loss_restoration"]) for entry in scalars] == [
        (50, 1.0),
        (100, 0.9),
        (150, 0.7),
        (200, 0.6),
    ]
    monkeypatch.setattr(sys, "argv", ["learning_curve", str(tmp_path / "model"), "--out", str(tmp_path / "out")])
    assert learning_curve.main() == 0
    assert "4 entries, steps 50 to 200" in capsys.readouterr().out
    assert "<svg" in (tmp_path / "out" / "model_curves.svg").read_text()
    assert len((tmp_path / "out" / "model_log.json").read_text().splitlines()) == 4


def test_a_folder_without_a_log_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["learning_curve", str(tmp_path), "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        learning_curve.main()
    assert str(tmp_path) in capsys.readouterr().err
