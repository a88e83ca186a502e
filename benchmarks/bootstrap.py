"""How sure a difference between two trainings is, by the pictures that they were tested on."""

from collections.abc import Mapping, Sequence

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
    their tasks, the same ones for both trainings (Efron and Tibshirani, 1993, chapter 13: percentiles).

    Args:
        first: By task, a value per picture.
        second: The same tasks and pictures.
        draws: Resampled test sets.
        level: Share of them that lies in the interval.
        seed: Of the drawing.

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
