"""What a metric says of its value: all that tables and charts need to know."""

import math
from dataclasses import asdict, dataclass

NOT_MEASURED = "-"


@dataclass(frozen=True)
class Measure:
    """What a metric says of its value, as every table and chart needs it.

    Attributes:
        label: Name of the value, with the prefix that a config gave it.
        title: Heading of its column; by default the label.
        key: Name in JSON files; by default the label in lower case.
        higher_is_better: Direction; None where none is known.
        digits: Digits after the point in tables.
        unit: Unit, empty for a number without one.
        protocol: Name of the protocol.
        words: How it is measured, in words.
        signed: Whether tables show a plus sign.
    """

    label: str
    title: str = ""
    key: str = ""
    higher_is_better: bool | None = None
    digits: int = 4
    unit: str = ""
    protocol: str = ""
    words: str = ""
    signed: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", self.title or self.label)
        object.__setattr__(self, "key", self.key or self.label.lower())

    def show(self, value: float | None) -> str:
        """A value as tables show it; a dash where it was not measured."""
        if value is None or math.isnan(value):
            return NOT_MEASURED
        return format(value, f"{'+' if self.signed else ''}.{self.digits}f")

    def with_unit(self) -> str:
        """The heading with its unit, for charts."""
        return f"{self.title} in {self.unit}" if self.unit else self.title

    def entry(self) -> dict:
        """The measure as plain values for JSON; `Measure(**entry)` is the measure again."""
        return asdict(self)
