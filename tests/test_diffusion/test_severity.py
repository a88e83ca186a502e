"""Steps of severities."""

import itertools

import numpy as np
import pytest

from dtir.core.errors import ConfigError
from dtir.diffusion.matching import MatchingCurve
from dtir.diffusion.severity import not_falling, severity_table


def curve(*peaks: int) -> MatchingCurve:
    """One picture a peak, over the steps 0..9."""
    scores = [[-abs(t - peak) for t in range(10)] for peak in peaks]
    return MatchingCurve("rainy", list(range(10)), scores, "subtract", "psnr")


def test_every_picture_has_a_peak_of_its_own():
    assert curve(3, 0, 8).picture_peaks() == [3, 0, 8]
    assert curve(3, 0, 8).picture_peaks(first=2) == [3, 2, 8]


def test_steps_do_not_fall_with_the_severity():
    table = severity_table({1.0: curve(9), 0.0: curve(0), 0.5: curve(6), 0.75: curve(4)})
    assert table == [(0.0, 0), (0.5, 5), (0.75, 5), (1.0, 9)]


def test_the_nearest_sequence_that_does_not_fall():
    values = [3, 1, 2, 0, 4]
    grid = np.arange(0, 4.5, 0.5)
    allowed = (c for c in itertools.product(grid, repeat=5) if all(a <= b for a, b in itertools.pairwise(c)))
    best = min(allowed, key=lambda c: sum((a - b) ** 2 for a, b in zip(c, values, strict=True)))
    assert not_falling(values) == list(best)


def test_a_severity_is_needed():
    with pytest.raises(ConfigError, match="at least one"):
        severity_table({})
