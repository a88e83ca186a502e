"""The gallery of a model: every task once, on free photographs."""

import sys

import cv2
import numpy as np

from benchmarks import weights_gallery
from dtir.tasks import TASKS


class Nothing:
    """A scorer that restores nothing."""

    def __init__(self, model):
        self.inferencer = self

    def given(self, rgb, *tasks):
        return rgb

    def estimate_task(self, rgb):
        return "clean"


def test_every_task_has_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(weights_gallery, "Scorer", Nothing)
    monkeypatch.setattr(sys, "argv", ["gallery", "model", "--out", str(tmp_path / "gallery.png")])
    assert weights_gallery.main() == 0
    sheet = cv2.imread(str(tmp_path / "gallery.png"))
    assert sheet.shape[0] == len(TASKS) * (200 + 26 + 6)
    lq, clean = weights_gallery.damaged("noisy", 4)
    assert not np.array_equal(lq, clean)
