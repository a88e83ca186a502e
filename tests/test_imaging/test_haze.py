"""The law of haze, and the depth in a pair."""

import numpy as np
import pytest

from dtir.imaging.haze import transmission


def test_the_transmission_of_white_haze_is_found():
    gt = np.random.default_rng(2).random((40, 60, 3), np.float32) * 0.9
    there = np.where(np.arange(60) < 30, 0.6, 0.3).astype(np.float32)[None, :, None]
    lq = 1 - (1 - gt) * there
    found = transmission(lq, gt)
    # At the edge, too.
    assert found[:, :30] == pytest.approx(0.6, abs=0.005)
    assert found[:, 30:] == pytest.approx(0.3, abs=0.005)
    gt[10:20, 5:15] = lq[10:20, 5:15] = 1
    assert transmission(lq, gt)[12:18, 7:13] == pytest.approx(0.45, abs=0.02)
    white = np.ones_like(gt)
    assert (transmission(white, white) == 1).all()
