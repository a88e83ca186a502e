import cv2
import numpy as np
import pytest

from dtir.diffusion.matching import MatchingCurve
from dtir.evaluation.reports import (
    PanelRow,
    plot_learning_curves,
    plot_matching_curves,
    save_panel,
)


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
