"""Damage upon damage, and none at all."""

from collections.abc import Sequence

import numpy as np

from dtir.registry import DEGRADATIONS

from .base import Degradation


@DEGRADATIONS.register_module()
class NoDamage(Degradation):
    """The picture as it is: what a network that is told "clean" has to leave alone."""

    severity = (0.0, 1.0)

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Returns the picture."""
        return image


@DEGRADATIONS.register_module()
class Compound(Degradation):
    """A degradation that is joined by another one in a share of the pictures.

    Args:
        main: Class name or config of the degradation that every picture has.
        before: Those that may come before it, as noise comes before JPEG; each a dict with `degradation`, class name
            or config, and optionally `severity`, the range that it is drawn from.
        after: Those that may come after it.
        share: Share of the pictures that have one of them, each equally likely.

    Attributes:
        severity: That of `main`.
        margin: The largest of all.
    """

    def __init__(
        self, main: str | dict, before: Sequence[dict] = (), after: Sequence[dict] = (), share: float = 0.2
    ) -> None:
        self.main = DEGRADATIONS.build({"type": main} if isinstance(main, str) else main)
        self.others = [(_build(item), True) for item in before] + [(_build(item), False) for item in after]
        self.share = share if self.others else 0.0
        self.severity = self.main.severity
        self.margin = max([self.main.margin, *(other.margin for (other, _), _ in self.others)])

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Degrades once or twice; the result of the first is clipped, as a file's would be."""
        if rng.random() >= self.share:
            return self.main(image, rng, severity)
        (other, severity_range), first = self.others[rng.integers(len(self.others))]
        extra = rng.uniform(*severity_range)
        if first:
            return self.main(other(image, rng, extra), rng, severity)
        return other(self.main(image, rng, severity), rng, extra)


def _build(item: dict) -> tuple[Degradation, tuple[float, float]]:
    kind = item["degradation"]
    built = DEGRADATIONS.build({"type": kind} if isinstance(kind, str) else kind)
    return built, item.get("severity", built.severity)
