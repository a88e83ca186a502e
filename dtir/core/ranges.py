"""Ranges of numbers, written into the annotation of the argument that has them.

`width: PositiveInt` says an integer to type checkers, and to the check of configs also that it begins at 1.
"""

import math
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Range:
    """An interval of numbers, closed unless said otherwise.

    Attributes:
        low: Smallest number, or minus infinity.
        high: Largest number, or infinity.
        open_low: Whether `low` itself is out.
        open_high: Whether `high` itself is out.
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        if math.isinf(self.high):
            return f"{'>' if self.open_low else '>='} {self.low:g}"
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"in {left}{self.low:.10g}, {self.high:.10g}{right}"


PositiveInt = Annotated[int, Range(1)]
NonNegativeInt = Annotated[int, Range(0)]
Positive = Annotated[float, Range(0, open_low=True)]
NonNegative = Annotated[float, Range(0)]
AboveOne = Annotated[float, Range(1, open_low=True)]
Share = Annotated[float, Range(0, 1)]
# A factor of decay: at 1 nothing would change any more.
BelowOne = Annotated[float, Range(0, 1, open_high=True)]
# What NumPy takes as a seed.
Seed = Annotated[int, Range(0, 2**32 - 1)]
