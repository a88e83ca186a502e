import re

import cv2
import numpy as np
import pytest
import torch

from dtir.core.errors import ConfigError
from dtir.diffusion.matching import MatchingCurve
from dtir.engine.hooks.report import _panel_row, _shown
from dtir.evaluation.render.sheet import save_sheet
from dtir.evaluation.render.svg import Series, line_chart
from dtir.evaluation.reports import (
    PanelRow,
    plot_learning_curves,
    plot_matching_curves,
    save_panel,
)
from dtir.evaluation.reports.pictures import save_pictures


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
    plot_learning_curves(tmp_path / "curves.svg", lines[::-1])
    text = (tmp_path / "curves.svg").read_text()
    # A loss that is 0 throughout belongs to an objective without a share; the PSNR of the input is no course.
    assert re.findall(r'class="title">([^<]+)<', text) == ["loss_generative", "lr", "validation PSNR in dB"]
    assert text.count('class="mark boundary"') == 3
    plot_learning_curves(tmp_path / "curves.png", lines)
    assert cv2.imread(str(tmp_path / "curves.png")).shape[1] == 2 * (18 + 3 * (360 + 18))
    with pytest.raises(ValueError, match="no loss and no PSNR to draw"):
        plot_learning_curves(tmp_path / "none.png", [{"noisy/SSIM": 1.0, "step": 1}])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "curves.svg"]


def test_matching_curves_picture(tmp_path):
    scores = [[10.0, 12.0, 11.0], [10.0, 14.0, 9.0]]
    curves = [MatchingCurve(task, [0, 1, 2], scores, "subtract", "psnr") for task in ("noisy", "hazy", "rainy")]
    plot_matching_curves(tmp_path / "three.png", curves, {"hazy": 2})
    picture = cv2.imread(str(tmp_path / "three.png"))
    # The matched step is drawn in red in each of the three, the step in use in the second as well.
    red = (picture[..., 2] > 150) & (picture[..., 1] < 90) & (picture[..., 0] < 110)
    counts = [red[:, 36 + k * 756 : 36 + (k + 1) * 756].sum() for k in range(3)]
    assert counts[0] == pytest.approx(counts[2], rel=0.1)
    assert counts[1] > 2 * counts[0] > 0


def test_a_file_shows_the_chart_of_the_page(tmp_path):
    chart = line_chart("loss", [Series("a", [0, 1], [0.5, 0.25]), Series("b & c", [0, 1], [0.75, 0.5], color=1)])
    save_sheet(tmp_path / "chart.svg", [chart])
    text = (tmp_path / "chart.svg").read_text()
    assert chart.content in text
    assert chart.content in chart
    assert "b &amp; c" in text
    assert "var(" not in text
    with pytest.raises(ConfigError, match=r"chart\.gif': a chart is written as one of \.svg, \.png, \.pdf"):
        save_sheet(tmp_path / "chart.gif", [chart])


def test_the_report_shows_lq_restored_and_gt_in_this_order_and_in_their_colours(tmp_path):
    colours = {"lq": (255, 0, 0), "pred": (0, 255, 0), "gt": (0, 0, 255)}
    flat = {key: torch.tensor(rgb, dtype=torch.uint8).view(3, 1, 1).expand(3, 8, 8) for key, rgb in colours.items()}
    picture = _shown({**flat, "pred": flat["pred"] / 255, "task_name": "hazy", "name": "a"})
    save_panel(tmp_path / "panel.png", [_panel_row(picture)], width=40)
    panel = cv2.imread(str(tmp_path / "panel.png"))[..., ::-1]
    middle = panel[26 + 20]
    order = [tuple(int(v) for v in middle[46 * k + 20]) for k in range(3)]
    assert order == list(colours.values())
    save_pictures(tmp_path, [picture])
    for kind, rgb in zip(("lq", "restored", "gt"), colours.values(), strict=True):
        assert tuple(cv2.imread(str(tmp_path / f"000_{kind}.png"))[0, 0, ::-1]) == rgb
