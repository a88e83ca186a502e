"""The scoreboard of a model's weights: the usual tools, mixtures, and the tables."""

import argparse
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import weights
from benchmarks.usual_tools import USUAL, dark_channel, noise_level, non_local_means, telea
from benchmarks.weights import MOST, Pair, Score, Scorer, mixed, quality, scoreboard


def photo(side: int = 48) -> np.ndarray:
    smooth = cv2.GaussianBlur(np.random.default_rng(0).random((side, side, 3)).astype(np.float32), (0, 0), 4)
    return cv2.normalize(smooth, None, 20, 230, cv2.NORM_MINMAX).astype(np.uint8)


def psnr(image: np.ndarray, gt: np.ndarray) -> float:
    return quality(image, gt)[0]


@pytest.mark.parametrize("task", USUAL)
def test_every_usual_tool_gives_a_picture_of_the_same_size_and_leaves_its_input(task):
    lq = photo()
    before = lq.copy()
    restored = USUAL[task](lq, None)
    assert restored.shape == lq.shape
    assert restored.dtype == np.uint8
    assert np.array_equal(lq, before)


def test_usual_tools_do_what_they_are_for():
    gt, rng = photo(), np.random.default_rng(1)
    noisy = np.clip(gt + rng.normal(0, 25, gt.shape), 0, 255).astype(np.uint8)
    assert noise_level(noisy) == pytest.approx(25, rel=0.1)
    assert psnr(non_local_means(noisy), gt) > psnr(noisy, gt) + 3
    hazy = (gt * 0.45 + 245 * 0.55).astype(np.uint8)
    assert psnr(dark_channel(hazy), gt) > psnr(hazy, gt) + 3
    mask = np.full(gt.shape[:2], 255, np.uint8)
    mask[20:24] = 0
    holes = np.where(mask[..., None] == 0, 255, gt).astype(np.uint8)
    assert psnr(telea(holes, mask), gt) > psnr(holes, gt) + 10
    assert np.array_equal(telea(holes, mask), telea(holes))


def test_mixtures_repeat_and_have_both_damages():
    clean = photo()
    first, second = ("GaussianNoise", 0.2, "noisy"), ("JPEGCompression", 0.3, "jpeg-compressed")
    both = mixed(first, second, clean, seed=3)
    assert np.array_equal(both, mixed(first, second, clean, seed=3))
    assert psnr(both, clean) < psnr(mixed(second, second, clean, seed=3), clean)


class Halver:
    """An inferencer that halves the error whatever it is told, and takes all but clean pictures for noise."""

    def __init__(self, clean: np.ndarray):
        self.clean = clean

    def restore_array(self, rgb, task):
        return (rgb.astype(np.float32) + self.clean) / 2 / 255

    def estimate_task(self, rgb):
        return "clean" if np.array_equal(rgb, self.clean) else "noisy"


def test_the_scoreboard_holds_gains_worst_cases_and_confusion(tmp_path, monkeypatch):
    clean = photo()
    scorer = object.__new__(Scorer)
    scorer.inferencer = Halver(clean)
    dark = (clean * 0.5).astype(np.uint8)
    pairs = {"low-light": [Pair("a", "low-light", dark, clean)], "noisy": [Pair("b", "noisy", clean, clean)]}
    monkeypatch.setattr(weights, "read_pairs", lambda folder, task, limit: pairs.get(Path(folder).name, []))
    monkeypatch.setattr(weights, "held_out", lambda limit: {"other": pairs["low-light"]})
    text, results = scoreboard(scorer, argparse.Namespace(data=tmp_path, out=tmp_path, limit=9, clean=2, mixtures=2))
    scores = [Score(**score) for score in results["scores"]]
    assert [score.set for score in scores] == ["low-light", "noisy", "other"]
    assert scores[0].psnr_auto - scores[0].psnr_input == pytest.approx(6.02, abs=0.15)
    assert (scores[1].psnr_given, scores[1].estimated) == (MOST, "clean")
    assert results["clean"] == [MOST, MOST]
    assert all(row[4] == pytest.approx(0.5, abs=0.1) for row in results["mixtures"])
    for line in ("| low-light | 1 |", "mean of ten", "| low-light | noisy 1 |", "| clean | clean 2 |"):
        assert line in text
    assert (tmp_path / "weights_worst.jpg").is_file()
    assert (tmp_path / "weights_tasks.jpg").is_file()
