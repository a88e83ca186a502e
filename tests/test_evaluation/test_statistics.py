"""Intervals and tests of differences."""

import numpy as np
import pytest

from dtir.evaluation.statistics import difference_interval, half_width, mean_and_spread, signed_rank_p


def test_the_interval_is_that_of_the_normal_law():
    rng = np.random.default_rng(0)
    differences = rng.normal(0.3, 1, 400)
    second = rng.normal(30, 5, 400)
    low, high = difference_interval({"a": second + differences}, {"a": second})
    error = differences.std(ddof=1) / 20
    assert low == pytest.approx(differences.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(differences.mean() + 1.96 * error, abs=0.1 * error)


def test_tasks_count_alike_whatever_their_pictures():
    first = {"a": [1.0] * 100, "b": [3.0]}
    low, high = difference_interval(first, {"a": [0.0] * 100, "b": [0.0]})
    assert low == high == 2.0


def test_pictures_are_paired():
    second = np.linspace(10, 40, 20)
    assert difference_interval({"a": second + 0.1}, {"a": second}) == pytest.approx((0.1, 0.1))


def test_signed_ranks():
    values = np.arange(1.0, 11.0)
    # All ten differences of one sign: 2 of 2^10 signs are as extreme.
    assert signed_rank_p({"a": values}, {"a": np.zeros(10)}) == pytest.approx(2 / 2**10)
    assert signed_rank_p({"a": values}, {"a": values}) == 1.0


def test_mean_and_spread():
    assert mean_and_spread([1.0, 3.0]) == (2.0, pytest.approx(2**0.5))
    assert mean_and_spread([1.0]) == (1.0, None)


def test_half_of_students_interval():
    # t of two degrees of freedom at 97.5 % is 4.303, of one 12.706.
    assert half_width([1.0, 2.0, 3.0]) == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
    assert half_width([0.0, 2.0]) == pytest.approx(12.706, rel=1e-4)
