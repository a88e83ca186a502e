"""Several damages on one picture: what is done to it, and what it turned out to have."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np


class Part(NamedTuple):
    """One damage of those that a picture gets, its severity, and whether it joins in beside the one that is meant."""

    degradation: Callable[[np.ndarray, np.random.Generator, float], np.ndarray]
    severity: float
    joined: bool = False


class Damage(NamedTuple):
    """One damage of several that a sample has.

    Attributes:
        kind: Class name of the degradation; empty for the damage that all samples of the dataset have.
        task: Name of the task that removes it; None where its class names none, and for that of the dataset.
        error: Mean squared difference, of values in [0, 1], that it made by itself.
    """

    kind: str
    task: str | None
    error: float


def one_by_one(degradation: Callable, rng: np.random.Generator, severity: float) -> Iterable[Part]:
    """The damages that a degradation consists of (`Degradation.one_by_one`); any other callable is one."""
    parts = getattr(degradation, "one_by_one", None)
    return [Part(degradation, severity)] if parts is None else parts(rng, severity)
