"""`dtir eval`: folders against folders."""

import csv
import json

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
        (["--lq", "nowhere"], "no folder"),
    ],
)
def test_what_is_wrong_is_named(folders, capsys, words, message):
    assert evaluated(folders, *words) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_pictures_without_partner_and_empty_folders(folders, capsys):
    (folders / "gt" / "b.png").unlink()
    assert evaluated(folders) == 2
    assert "has no partner" in capsys.readouterr().err
    (folders / "nothing").mkdir()
    assert cli.main(["eval", str(folders / "nothing"), str(folders / "gt")]) == 2
    assert "no pictures in" in capsys.readouterr().err
