"""tools/analysis/degradation_sheet.py: synthetic and real damage of the same pictures in one table."""

import sys

import cv2
import numpy as np
import pytest

from dtir.datasets.degradations import TASK_DEGRADATIONS
from dtir.evaluation.damage import mean_statistics
from dtir.registry import DEGRADATIONS
from dtir.tasks import TASKS
from tools.analysis import degradation_sheet as sheet


def run(monkeypatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["degradation_sheet.py", *map(str, words)])
    return sheet.main()


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Two grey pictures with noise of sigma 50; two tasks on the sheet, of which the second has no pairs."""
    monkeypatch.setattr(sheet, "TASK_DEGRADATIONS", {name: TASK_DEGRADATIONS[name] for name in ("noisy", "low-light")})
    rng = np.random.default_rng(0)
    for name in "ab":
        clean = np.full((64, 48, 3), 128.0)
        write(tmp_path / "mine" / "noisy" / "GT" / f"{name}.png", clean)
        write(tmp_path / "mine" / "noisy" / "LQ" / f"{name}.png", clean + rng.normal(0, 50, clean.shape))
    return tmp_path


def write(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.clip(np.rint(picture), 0, 255).astype(np.uint8))


def test_real_and_synthetic_damage_stand_side_by_side(monkeypatch, data, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(monkeypatch, "--data", data, "--split", "mine", "--seeds", 2, "--out", out, "--width", 60) == 0
    lines = (out / "degradations.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]
    assert rows[0] == list(sheet.HEADER)
    assert [row[:3] for row in rows[1:]] == [
        ["noisy", "real", "2"],
        ["noisy", "synthetic", "2"],
        ["low-light", "synthetic", "7"],
    ]
    real, synthetic = (float(row[3].split(" ± ")[0]) for row in rows[1:3])
    assert real == pytest.approx(20 * np.log10(255 / 50), abs=0.25)
    assert synthetic == pytest.approx(real, abs=0.25)
    assert cv2.imread(str(out / "degradations.jpg")).shape[1] == 4 * 66
    assert cv2.imread(str(out / "real.jpg")).shape[1] == 4 * 66
    assert "real.jpg" in capsys.readouterr().out


def test_without_pairs_the_photographs_are_measured(monkeypatch, data, tmp_path):
    out = tmp_path / "out"
    assert run(monkeypatch, "--data", tmp_path / "none", "--seeds", 1, "--out", out, "--width", 60) == 0
    assert "real" not in (out / "degradations.md").read_text(encoding="utf-8")
    assert not (out / "real.jpg").exists()


def test_mistakes_are_named(monkeypatch, data, tmp_path, capsys):
    (data / "mine" / "noisy" / "GT" / "b.png").unlink()
    assert run(monkeypatch, "--data", data, "--split", "mine", "--out", tmp_path) == 1
    assert "b" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(monkeypatch, "--seeds", 0)
    assert "--seeds: '0'; expected an integer of at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("task", TASKS)
def test_synthetic_damage_is_close_to_real_damage_of_the_same_pictures(data_dir, task):
    pairs = sheet.real_pairs(data_dir / "real10" / task, task)
    degrade = DEGRADATIONS.build({"type": TASK_DEGRADATIONS[task]})
    drawn = [sheet.damaged(degrade, pair.gt, (n, seed)) for n, pair in enumerate(pairs) for seed in range(4)]
    real, synthetic = (mean_statistics(sheet.statistics(some)) for some in (pairs, drawn))
    assert synthetic.psnr == pytest.approx(real.psnr, abs=1.3)
    assert synthetic.gradient == pytest.approx(real.gradient, abs=0.3)
    assert synthetic.coarse == pytest.approx(real.coarse, abs=0.12)
    assert synthetic.fine == pytest.approx(real.fine, abs=0.12)
