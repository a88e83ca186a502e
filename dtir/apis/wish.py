"""What a caller wants done to a picture."""

from dataclasses import dataclass

from dtir.core.errors import ConfigError

# The task is estimated from the picture.
AUTO = "auto"
MOST_PASSES = 3


@dataclass(frozen=True)
class Wish:
    """What is to be done.

    Args:
        task: Name of the damage, or "auto" to estimate it; None is "auto", or where missing regions are masked, nothing
            but filling them.
        t: Time step instead of a task.
        strength: Share of the change that is applied, in [0, 1].
        passes: Most restorations of one picture with "auto".

    Raises:
        ConfigError: Task and step are both given, or a number is out of range.
    """

    task: str | None = None
    t: int | None = None
    strength: float = 1.0
    passes: int = MOST_PASSES

    def __post_init__(self) -> None:
        if self.task is not None and self.t is not None:
            raise ConfigError("give either the task of the picture or a time step t, not both.")
        if not 0 <= self.strength <= 1:
            raise ConfigError(f"strength={self.strength} is not in [0, 1]: 0 leaves the picture, 1 restores it wholly.")
        if self.passes < 1:
            raise ConfigError(f"passes={self.passes}: at least one is needed.")

    @property
    def named(self) -> bool:
        """Whether the caller says which damage it is."""
        return self.t is not None or self.task not in (None, AUTO)

    def estimates(self, masked: bool) -> bool:
        """Whether the damage is to be estimated, of a picture with or without a mask of missing regions."""
        return not self.named and (self.task == AUTO or not masked)
