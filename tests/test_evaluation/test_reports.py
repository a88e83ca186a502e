import csv
import io
import json

import cv2
import numpy as np
import pytest
from rich.console import Console

from dtir.core.errors import ConfigError
from dtir.diffusion.matching import MatchingCurve
from dtir.evaluation.reports import (
    PanelRow,
    plot_learning_curves,
    plot_matching_curves,
    result_rows,
    rich_table,
    save_panel,
    write_results,
)

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
    table = rich_table(rows, "10 tasks, protocol 'rgb'")
    assert table.row_count == 3
    console = Console(width=100, file=io.StringIO())
    console.print(table)
    assert "protocol 'rgb'" in console.file.getvalue()
    assert "+12.00" in console.file.getvalue()


def test_what_was_not_measured_is_a_dash_and_no_psnr_is_an_error():
    rows = result_rows({"noisy/PSNR": 26.0}, ["noisy"], [6])
    assert rows[0].cells() == ["noisy", "6", "-", "26.00", "-", "-"]
    with pytest.raises(ConfigError, match=r"no PSNR of any of the tasks noisy: put dict\(type='PSNR'\)"):
        result_rows({"noisy/SSIM": 0.5}, ["noisy"], [6])


def test_files_hold_the_rows(tmp_path):
    rows = result_rows(METRICS, ["noisy", "hazy"], [6, -1], {"noisy": 4, "hazy": 2})
    write_results(tmp_path, rows, "A title", "rgb")
    written = json.loads((tmp_path / "results.json").read_text())
    hazy = {"matched_t": None, "psnr_in": 12.0, "psnr": 18.0, "ssim": 0.9, "n": 2, "gain": 6.0}
    average = {"matched_t": None, "psnr_in": 13.0, "psnr": 22.0, "ssim": 0.85, "n": 6, "gain": 9.0}
    assert written == {
        "protocol": "rgb",
        "tasks": {"noisy": written["tasks"]["noisy"], "hazy": hazy},
        "average": pytest.approx(average),
    }
    assert written["tasks"]["noisy"]["matched_t"] == 6
    table = list(csv.reader((tmp_path / "results.csv").open()))
    assert table[1] == rows[0].cells()
    assert "| noisy | 6 | 14.00 | 26.00 | 0.8000 | +12.00 |" in (tmp_path / "results.md").read_text()
    perfect = result_rows({**METRICS, "noisy/PSNR": float("inf")}, ["noisy"], [6])
    write_results(tmp_path, perfect, "A title", "rgb")
    assert json.loads((tmp_path / "results.json").read_text())["tasks"]["noisy"]["psnr"] is None


def test_panel_places_pictures_beside_each_other(tmp_path):
    red, blue = np.zeros((2, 20, 30, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    save_panel(tmp_path / "panel.png", [PanelRow([red, blue], ["LQ", "GT"])] * 2, width=60)
    sheet = cv2.imread(str(tmp_path / "panel.png"))
    assert sheet.shape == (2 * (26 + 40 + 6), 2 * 66, 3)
    assert sheet[46, 30].tolist() == [0, 0, 255]
    assert sheet[46, 66 + 30].tolist() == [255, 0, 0]


def test_panel_keeps_the_shape_of_every_picture(tmp_path):
    tall, wide = np.zeros((80, 40, 3), np.uint8), np.zeros((10, 40, 3), np.uint8)
    label = "a label that is much longer than the column is wide"
    save_panel(tmp_path / "panel.png", [PanelRow([tall, wide], [label, ""])], width=40)
    sheet = cv2.imread(str(tmp_path / "panel.png"))
    assert sheet.shape == (26 + 40 + 6, 2 * 46, 3)
    black = (sheet == 0).all(-1)
    assert black[26:66, 10:30].all()
    assert black[26:36, 46:86].all()
    assert black[26:].sum() == 40 * 20 + 10 * 40
    assert (sheet[:26, 36:46] == 255).all()


def test_learning_curves_picture(tmp_path):
    lines = [{"loss_generative": 1 / k, "loss_restoration": 0.0, "lr": 1e-3, "stage": k, "step": k} for k in (1, 2)]
    lines += [{"noisy/PSNR": 20.0, "noisy/PSNR_LQ": 14.0, "average/PSNR": 20.0, "step": 2}]
    plot_learning_curves(tmp_path / "curves.png", lines[::-1])
    picture = cv2.imread(str(tmp_path / "curves.png"))
    assert picture.shape == (495, 1430, 3)
    more = [*lines, {"noisy/PSNR": 25.0, "average/PSNR": 25.0, "step": 3}]
    plot_learning_curves(tmp_path / "more.png", more)
    assert (cv2.imread(str(tmp_path / "more.png"))[:, 715:] != picture[:, 715:]).any()
    with pytest.raises(ValueError, match="no loss and no PSNR to draw"):
        plot_learning_curves(tmp_path / "none.png", [{"lr": 1.0, "step": 1}])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "more.png"]


def test_matching_curves_picture(tmp_path):
    scores = [[10.0, 12.0, 11.0], [10.0, 14.0, 9.0]]
    curves = [MatchingCurve(task, [0, 1, 2], scores, "subtract", "psnr") for task in ("noisy", "hazy", "rainy")]
    plot_matching_curves(tmp_path / "one.png", curves[:1])
    plot_matching_curves(tmp_path / "three.png", curves)
    one, three = (cv2.imread(str(tmp_path / name)) for name in ("one.png", "three.png"))
    assert three.shape[1] == 3 * one.shape[1]
    assert (three[:, :352] < 250).any()
    # The matched step is drawn in red, once in each of the three.
    red = (three[..., 2] > 180) & (three[..., 1] < 80)
    assert [red[:, k * 352 : (k + 1) * 352].any() for k in range(3)] == [True] * 3
