"""Time steps of severities: what a damage of known strength matches, for a step of each picture's own."""

from collections.abc import Mapping, Sequence

import numpy as np

from dtir.core.errors import ConfigError
from dtir.diffusion.matching import MatchingCurve


def severity_table(curves: Mapping[float, MatchingCurve], first: int = 0) -> list[tuple[float, int]]:
    """Pairs of a severity and its step: the peaks of the curves, made not to fall with the severity.

    The peak of a flat curve wanders from severity to severity. The nearest sequence that does not fall, in the least
    squares, is taken in its place (pool adjacent violators; Barlow et al., 1972), and rounded.

    Args:
        curves: One damage's curve at each severity.
        first: Smallest step that may be matched.

    Returns:
        In ascending order of the severities, for `StepOfSeverity` and `SyntheticDataset.severity_steps`.

    Raises:
        ConfigError: There is no curve, or no step from `first` on.
    """
    if not curves:
        raise ConfigError("there is no severity to match: name at least one in [0, 1].")
    severities = sorted(curves)
    steps = not_falling([curves[severity].peak(first) for severity in severities])
    return [(severity, round(step)) for severity, step in zip(severities, steps, strict=True)]


def not_falling(values: Sequence[float]) -> list[float]:
    """The sequence nearest to `values` in the least squares that never falls."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        mean, count = float(value), 1
        while blocks and blocks[-1][0] > mean:
            before, number = blocks.pop()
            mean, count = (before * number + mean * count) / (number + count), number + count
        blocks.append((mean, count))
    return np.repeat([mean for mean, _ in blocks], [count for _, count in blocks]).tolist()
