"""Damage upon damage, and none at all."""

from collections.abc import Iterator, Sequence
from typing import final

import numpy as np

from dtir.core.errors import DatasetError
from dtir.datasets.damages import Part, one_by_one
from dtir.registry import DEGRADATIONS
from dtir.tasks import CLEAN

from .base import Degradation


@DEGRADATIONS.register_module()
class NoDamage(Degradation):
    """The picture as it is: what a network that is told "clean" has to leave alone."""

    severity = (0.0, 1.0)
    task = CLEAN

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Returns the picture."""
        return image


@DEGRADATIONS.register_module()
class Compound(Degradation):
    """A degradation that is joined by another one in a share of the pictures.

    What it does is what its parts do, and a subclass that is to do something else yields other parts: training samples
    are made of these (`Degrade`), and would be without what `degrade` or `__call__` of a subclass adds.

    Args:
        main: Class name or config of the degradation that every picture has.
        before: Those that may come before it, as noise comes before JPEG; each a dict with `degradation`, class name
            or config, and optionally `severity`, the range that it is drawn from.
        after: Those that may come after it.
        share: Share of the pictures that have one of them, each equally likely.

    Attributes:
        severity, task: Those of `main`.
        margin: The largest of all.

    Raises:
        DatasetError: A subclass is defined that overrides `degrade` or `__call__`.
    """

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        for name in ("degrade", "__call__"):
            if getattr(cls, name) is not getattr(Compound, name):
                raise DatasetError(
                    f"{cls.__name__}.{name} would have no effect on training samples, which get a compound's parts one "
                    "by one: override one_by_one, which yields the parts, or derive the class from Degradation."
                )

    def __init__(
        self, main: str | dict, before: Sequence[dict] = (), after: Sequence[dict] = (), share: float = 0.2
    ) -> None:
        self.main = DEGRADATIONS.build({"type": main} if isinstance(main, str) else main)
        self.others = [(_build(item), True) for item in before] + [(_build(item), False) for item in after]
        self.share = share if self.others else 0.0
        self.severity, self.task = self.main.severity, self.main.task
        self.margin = max([self.main.margin, *(other.margin for (other, _), _ in self.others)])

    def one_by_one(self, rng: np.random.Generator, severity: float) -> Iterator[Part]:
        """`main` alone, or with another one that is said to have joined in."""
        if rng.random() >= self.share:
            yield from one_by_one(self.main, rng, severity)
            return
        (other, severity_range), first = self.others[rng.integers(len(self.others))]
        extra = rng.uniform(*severity_range)
        if first:
            yield from _joined(other, rng, extra)
        yield from one_by_one(self.main, rng, severity)
        if not first:
            yield from _joined(other, rng, extra)

    @final
    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Degrades once or twice; the result of the first is clipped, as a file's would be."""
        for part in self.one_by_one(rng, severity):
            image = part.degradation(image, rng, part.severity)
        return image


def _joined(other: Degradation, rng: np.random.Generator, severity: float) -> Iterator[Part]:
    return (part._replace(joined=True) for part in one_by_one(other, rng, severity))


def _build(item: dict) -> tuple[Degradation, tuple[float, float]]:
    kind = item["degradation"]
    built = DEGRADATIONS.build({"type": kind} if isinstance(kind, str) else kind)
    return built, item.get("severity", built.severity)
