"""What a state dict's keys and shapes tell about the settings of the network: helpers of every `settings_of`."""

import math
import re
from collections.abc import Iterable, Mapping

from torch import Tensor

State = Mapping[str, Tensor]
# Factors of widths are written with few digits; beyond so many, none fits.
MOST_DIGITS = 6


def count(state: State, prefix: str) -> int:
    """How many parts are numbered from 0 on below a prefix: 2 for "a.0.weight" and "a.1.bias" below "a."."""
    pattern = re.compile(re.escape(prefix) + r"(\d+)")
    numbers = {int(found[1]) for found in map(pattern.match, state) if found}
    return next(n for n in range(len(numbers) + 1) if n not in numbers)


def factor(pairs: Iterable[tuple[int, int]]) -> float:
    """The shortest decimal f for which `int(width * f)` is the second of each pair (width, hidden).

    Raises:
        KeyError: There is none, so that the widths belong to another network.
    """
    pairs = list(pairs)
    least = max(hidden / width for width, hidden in pairs)
    for digits in range(MOST_DIGITS):
        # Rounded up, but not for the sake of the last bit.
        found = math.ceil(least * 10**digits - 1e-9) / 10**digits
        if all(int(width * found) == hidden for width, hidden in pairs):
            return int(found) if digits == 0 else found
    raise KeyError("no factor fits the widths")


def whole(numerator: int, denominator: int) -> int:
    """A quotient that has to be a whole number.

    Raises:
        KeyError: It is none, so that the shapes belong to another network.
    """
    if denominator < 1 or numerator % denominator:
        raise KeyError(f"{numerator} is no multiple of {denominator}")
    return numerator // denominator


def root(square: int) -> int:
    """The side of a square.

    Raises:
        KeyError: It is none.
    """
    side = math.isqrt(square)
    if side * side != square:
        raise KeyError(f"{square} is not a square")
    return side
