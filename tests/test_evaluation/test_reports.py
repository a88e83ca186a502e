import csv
import json

import cv2
import numpy as np
import pytest

from dtir.diffusion.matching import MatchingCurve
from dtir.evaluation.reports import PanelRow, plot_matching_curves, result_rows, rich_table, save_panel, write_results

METRICS = {
    "noisy/PSNR_LQ": 14.0,
    "noisy/PSNR": 26.0,
    "noisy/SSIM": 0.8,
    "hazy/PSNR_LQ": 12.0,
    "hazy/PSNR": 18.0,
    "hazy/SSIM": 0.9,
}


def test_rows_have_gains_and_an_average():
    rows = result_rows(METRICS, ["noisy", "hazy", "rainy"], [6, -1, 3])
    assert [row.cells() for row in rows] == [
        ["noisy", "6", "14.00", "26.00", "0.8000", "+12.00"],
        ["hazy", "-", "12.00", "18.00", "0.9000", "+6.00"],
        ["average", "-", "13.00", "22.00", "0.8500", "+9.00"],
    ]
    assert rich_table(rows, "title").row_count == 3


def test_files_hold_the_rows(tmp_path):
    rows = result_rows(METRICS, ["noisy", "hazy"], [6, -1])
    write_results(tmp_path, rows, "A title", "rgb")
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["protocol"] == "rgb"
    assert written["results"]["average"]["gain"] == pytest.approx(9)
    table = list(csv.reader((tmp_path / "results.csv").open()))
    assert table[1] == rows[0].cells()
    assert "| noisy | 6 | 14.00 | 26.00 | 0.8000 | +12.00 |" in (tmp_path / "results.md").read_text()
    perfect = result_rows({**METRICS, "noisy/PSNR": float("inf")}, ["noisy"], [6])
    write_results(tmp_path, perfect, "A title", "rgb")
    assert json.loads((tmp_path / "results.json").read_text())["results"]["noisy"]["psnr"] is None


def test_panel_places_pictures_beside_each_other(tmp_path):
    red, blue = np.zeros((2, 20, 30, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    save_panel(tmp_path / "panel.png", [PanelRow([red, blue], ["LQ", "GT"])] * 2, width=60)
    sheet = cv2.imread(str(tmp_path / "panel.png"))
    assert sheet.shape == (2 * (26 + 40 + 6), 2 * 66, 3)
    assert sheet[46, 30].tolist() == [0, 0, 255]
    assert sheet[46, 66 + 30].tolist() == [255, 0, 0]


def test_matching_curves_picture(tmp_path):
    scores = [[10.0, 12.0, 11.0], [10.0, 14.0, 9.0]]
    curves = [MatchingCurve(task, [0, 1, 2], scores, "subtract", "psnr") for task in ("noisy", "hazy", "rainy")]
    plot_matching_curves(tmp_path / "one.png", curves[:1])
    plot_matching_curves(tmp_path / "three.png", curves)
    one, three = (cv2.imread(str(tmp_path / name)) for name in ("one.png", "three.png"))
    assert three.shape[1] == 3 * one.shape[1]
    assert one.std() > 0
