"""Optimiser steps that are not taken, since their gradient is not finite or out of all proportion."""

import math
import statistics
from collections import deque
from dataclasses import dataclass, fields

from dtir.config.check import part_problems
from dtir.core.errors import ConfigError, DtirError
from dtir.core.names import did_you_mean
from dtir.core.ranges import AboveOne, PositiveInt

# Norms that have to be known before one is told to be a spike, or the window where that is shorter.
KNOWN = 20


@dataclass(frozen=True)
class SkipOptions:
    """`optim_wrapper.skip`: which steps are skipped.

    Attributes:
        non_finite: Those whose gradient has a number that is not finite.
        spike: Those whose gradient's norm, before clipping, is so many times the median of the last `window` steps
            taken in the stage; None for none.
        window: Steps of that median.
        patience: Skipped steps in a row with which the training ends.
    """

    non_finite: bool = True
    spike: AboveOne | None = None
    window: PositiveInt = 100
    patience: PositiveInt = 50

    @classmethod
    def from_config(cls, config: dict) -> "SkipOptions":
        """Builds it from a config dict.

        Raises:
            ConfigError: A key is unknown, or a value is out of its range.
        """
        place, names = "optim_wrapper.skip", [entry.name for entry in fields(cls)]
        if not isinstance(config, dict):
            raise ConfigError(f"{place} is {config!r}; expected a dict such as dict(non_finite=True, spike=10.0).")
        for key in config:
            if key not in names:
                raise ConfigError(f"{place}: unknown key '{key}'.{did_you_mean(key, names)} Keys: {', '.join(names)}.")
        problems = part_problems(config, place, cls)
        if problems:
            raise ConfigError("\n".join(problems))
        return cls(**config)


class StepSkipper:
    """Decides by a step's gradient norm whether the step is taken, and counts those that are not.

    Args:
        options: Which steps.

    Attributes:
        skipped: Steps of the training that were skipped, by reason, `non_finite` and `spike`.
        taken: Whether the last step was taken.
    """

    def __init__(self, options: SkipOptions) -> None:
        self.options = options
        self.skipped = {"non_finite": 0, "spike": 0}
        self.in_a_row = 0
        self.norms: deque[float] = deque(maxlen=options.window)

    @property
    def taken(self) -> bool:
        """True before the first step."""
        return self.in_a_row == 0

    def skips(self, norm: float) -> bool:
        """Whether a step is skipped, by the norm of its gradient.

        Raises:
            DtirError: So many steps in a row were skipped that the training stands still.
        """
        reason = self._reason(norm)
        if reason is None:
            self.in_a_row = 0
            if math.isfinite(norm):
                self.norms.append(norm)
            return False
        self.skipped[reason] += 1
        self.in_a_row += 1
        if self.in_a_row >= self.options.patience:
            usual = f", the median of those taken {statistics.median(self.norms):.3g}" if self.norms else ""
            raise DtirError(
                f"the last {self.in_a_row} steps were skipped (optim_wrapper.skip.patience): the gradient's norm is "
                f"{norm:.3g}{usual}. Lower the stage's lr, look at the data, or raise optim_wrapper.skip.spike; then "
                "--resume from a good checkpoint."
            )
        return True

    def _reason(self, norm: float) -> str | None:
        if not math.isfinite(norm):
            return "non_finite" if self.options.non_finite else None
        if self.options.spike is None or len(self.norms) < min(KNOWN, self.options.window):
            return None
        return "spike" if norm > self.options.spike * statistics.median(self.norms) else None

    def forget_norms(self) -> None:
        """At the start of a stage, whose gradients may be of another size."""
        self.norms.clear()

    def state_dict(self) -> dict:
        """Counts and norms, plain numbers."""
        return {"skipped": dict(self.skipped), "in_a_row": self.in_a_row, "norms": list(self.norms)}

    def load_state_dict(self, state: dict) -> None:
        """Takes back what `state_dict` gave."""
        self.skipped, self.in_a_row = dict(state["skipped"]), state["in_a_row"]
        self.norms = deque(state["norms"], maxlen=self.options.window)
