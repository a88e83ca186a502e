"""`dtir eval`: folders against folders."""

import csv
import json
import sys

import cv2
import numpy as np
import pytest

from dtir import cli


def write(folder, **grey: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in grey.items():
        cv2.imwrite(str(folder / f"{name}.png"), np.full((16, 16, 3), value, np.uint8))


@pytest.fixture
def folders(tmp_path):
    write(tmp_path / "out", a=110, b=100)
    write(tmp_path / "gt", a=100, b=120)
    write(tmp_path / "lq", a=50, b=60)
    return tmp_path


def evaluated(folders, *words: str) -> int:
    return cli.main(["eval", str(folders / "out"), str(folders / "gt"), *map(str, words)])


def psnr(error: float) -> float:
    return 20 * np.log10(255 / error)


def test_values_of_pictures_and_their_mean(folders, capsys):
    assert evaluated(folders, "--metrics", "PSNR", "MAE", "PSNR:y", "--out", folders / "report") == 0
    printed = capsys.readouterr().out
    assert f"{(psnr(10) + psnr(20)) / 2:.2f}" in printed
    assert "protocol 'y'" in printed
    rows = list(csv.DictReader((folders / "report" / "pictures.csv").open()))
    assert [row["picture"] for row in rows] == ["a", "b"]
    assert [float(row["PSNR [rgb]"]) for row in rows] == pytest.approx([psnr(10), psnr(20)])
    assert [float(row["MAE [rgb]"]) for row in rows] == pytest.approx([10 / 255, 20 / 255])
    # Studio range: 219 of 255 levels.
    assert float(rows[0]["y/PSNR [y]"]) == pytest.approx(psnr(10 * 219 / 255), abs=1e-3)


def test_the_gain_is_counted_from_the_degraded_pictures(folders, capsys):
    assert evaluated(folders, "--lq", folders / "lq", "--metrics", "PSNR") == 0
    gain = (psnr(10) + psnr(20) - psnr(50) - psnr(60)) / 2
    assert f"+{gain:.2f}" in capsys.readouterr().out


def test_subfolders_are_rows_that_count_alike(tmp_path):
    for row, errors in (("hazy", {"a": 10}), ("noisy", {"a": 20, "b": 40})):
        write(tmp_path / "out" / row, **{name: 100 + error for name, error in errors.items()})
        write(tmp_path / "gt" / row, **dict.fromkeys(errors, 100))
    assert evaluated(tmp_path, "--metrics", "MAE", "--out", tmp_path / "report") == 0
    means = json.loads((tmp_path / "report" / "test.json").read_text())
    assert means["tasks"]["noisy"] == {"n": 2, "MAE": pytest.approx(30 / 255)}
    assert means["average"]["MAE"] == pytest.approx(20 / 255)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--metrics", "PSRN"], "unknown metric 'PSRN'. Did you mean 'PSNR'?"),
        (["--protocol", "rbg"], "unknown measuring protocol 'rbg'. Did you mean 'rgb'?"),
        (["--metrics", "PSNR", "nothing_like_it"], "Registered: IQA, "),
        (["--lq", "nowhere"], "no folder 'nowhere': give the folder of the degraded pictures."),
    ],
)
def test_what_is_wrong_is_named(folders, capsys, words, message):
    assert evaluated(folders, *words) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_missing_folder_of_gts_is_named(folders, capsys):
    assert cli.main(["eval", str(folders / "out"), "nowhere"]) == 2
    assert "no folder 'nowhere': give the folder of the GTs." in capsys.readouterr().err
    write(folders / "sorted" / "hazy", a=1)
    assert cli.main(["eval", str(folders / "sorted"), str(folders / "gt")]) == 2
    assert "give the folder of the GTs, with a folder 'hazy' as '" in " ".join(capsys.readouterr().err.split())


def test_an_unknown_metric_is_said_without_the_library_too(folders, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    assert evaluated(folders, "--metrics", "musiq") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("Error: unknown metric 'musiq'.")
    assert "Those of pyiqa: this metric needs the extra 'metrics'" in said


OWN = """
from dtir.evaluation import PictureMetric
from dtir.registry import METRICS


@METRICS.register_module()
class OwnLargestError(PictureMetric):
    name = "LargestError"
    higher_is_better = False
    digits = 0

    def measure(self, picture, gt):
        return 255 * (self.protocol.prepare(picture) - self.protocol.prepare(gt)).abs().flatten(1).amax(1)
"""


def test_a_metric_of_ones_own(folders, capsys):
    (folders / "own_metric_of_eval.py").write_text(OWN)
    words = ["--import", folders / "own_metric_of_eval.py", "--metrics", "OwnLargestError", "--out", folders / "report"]
    assert evaluated(folders, *words) == 0
    assert "LargestError" in capsys.readouterr().out
    rows = list(csv.DictReader((folders / "report" / "pictures.csv").open()))
    assert [float(row["LargestError [rgb]"]) for row in rows] == pytest.approx([10, 20], abs=1e-3)


def test_pictures_without_partner_and_empty_folders(folders, capsys):
    (folders / "gt" / "b.png").unlink()
    assert evaluated(folders) == 2
    assert "has no partner" in capsys.readouterr().err
    (folders / "nothing").mkdir()
    assert cli.main(["eval", str(folders / "nothing"), str(folders / "gt")]) == 2
    assert "no pictures in" in capsys.readouterr().err
