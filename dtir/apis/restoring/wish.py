"""What a caller wants done to a picture."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from dtir.core.errors import ConfigError

# The task, or the step, is estimated from the picture.
AUTO = "auto"
Step = int | Literal["auto"]
MOST_PASSES = 3
# What a caller is told in every pass: the tiles that are done, and how many there are in all.
OnTile = Callable[[int, int], None]


@dataclass(frozen=True)
class Wish:
    """What is to be done.

    Args:
        task: Name of the damage, or "auto" to estimate it; None is "auto", or where missing regions are masked, nothing
            but filling them.
        t: Time step instead of a task; or "auto" to estimate that of each picture, within the task if one is named.
        strength: Share of the change that is applied, in [0, 1].
        passes: Most restorations of one picture with "auto".
        prompt: What is to be done in words, instead of a task, a step and a strength.

    Raises:
        ConfigError: More than one of task, step and prompt is given, or a strength beside a prompt, or a number is out
            of range.
    """

    task: str | None = None
    t: Step | None = None
    strength: float = 1.0
    passes: int = MOST_PASSES
    prompt: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.t, str) and self.t != AUTO:
            raise ConfigError(f"t='{self.t}' is neither a time step nor 'auto', to estimate it from the picture.")
        if self.task is not None and self.t not in (None, AUTO):
            raise ConfigError("give either the task of the picture or a time step t, not both.")
        if self.prompt is not None:
            self._check_prompt()
        if not 0 <= self.strength <= 1:
            raise ConfigError(f"strength={self.strength} is not in [0, 1]: 0 leaves the picture, 1 restores it wholly.")
        if self.passes < 1:
            raise ConfigError(f"passes={self.passes}: at least one is needed.")

    def _check_prompt(self) -> None:
        beside = {"task": self.task is not None, "time step t": self.t is not None, "strength": self.strength != 1}
        given = [name for name, is_given in beside.items() if is_given]
        if given:
            raise ConfigError(
                f"the prompt '{self.prompt}' says what is to be done; leave out the {' and the '.join(given)}, or the "
                'prompt. How much is said in words too: "a little", "by 30 %".'
            )

    @property
    def named(self) -> bool:
        """Whether the caller says which damage it is."""
        return self.t not in (None, AUTO) or self.task not in (None, AUTO)

    def estimates(self, masked: bool) -> bool:
        """Whether the damage is to be estimated, of a picture with or without a mask of missing regions."""
        asked = AUTO in (self.task, self.t)
        return not self.named and self.prompt is None and (asked or not masked)
