"""How sure a difference is: between two methods by the pictures that both were measured on, and over seeds."""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev

import numpy as np


def difference_interval(
    first: Mapping[str, Sequence[float]],
    second: Mapping[str, Sequence[float]],
    draws: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """The interval of `average(first) - average(second)` by a paired bootstrap over pictures.

    An average is the mean over the tasks of the means over their pictures; pictures are drawn with replacement within
    their tasks, the same ones for both methods (Efron and Tibshirani, 1993, chapter 13: percentiles).

    Args:
        first: By task, a value per picture.
        second: The same tasks and pictures.
        draws: Resampled test sets.
        level: Share of them that lies in the interval.
        seed: Seed of the drawing.

    Returns:
        Lower and upper end.
    """
    rng = np.random.default_rng(seed)
    means = []
    for task, values in first.items():
        differences = np.subtract(values, second[task])
        drawn = rng.integers(0, len(differences), (draws, len(differences)))
        means.append(differences[drawn].mean(1))
    averages = np.mean(means, axis=0)
    low, high = np.quantile(averages, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def signed_rank_p(first: Mapping[str, Sequence[float]], second: Mapping[str, Sequence[float]]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test on the pictures' differences; 1 where all of them are equal."""
    from scipy.stats import wilcoxon

    differences = np.concatenate([np.subtract(values, second[task]) for task, values in first.items()])
    return float(wilcoxon(differences).pvalue) if differences.any() else 1.0


def mean_of_finite(values: Iterable[float]) -> float:
    """The mean of the finite values; of none of them, the first value, infinite or undefined.

    A restored picture that equals its GT has an infinite PSNR, which says nothing of the others.
    """
    values = list(values)
    return fmean([value for value in values if math.isfinite(value)] or values[:1])


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean, and the standard deviation (n - 1) where there are two values at least."""
    return fmean(values), stdev(values) if len(values) > 1 else None


def half_width(values: Sequence[float], level: float = 0.95) -> float:
    """Half of the interval of the mean of normal values, at least two, by Student's t."""
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
