"""What was found on a picture and what was done to it."""

from dataclasses import dataclass
from typing import NamedTuple

from dtir.tasks import CLEAN


class Estimate(NamedTuple):
    """The likeliest damage of a picture and its probability in [0, 1]; and that of the two likeliest damages together,
    since a picture that has two of them is taken for the one or the other."""

    task: str
    confidence: float
    of_two: float = 0.0

    def __str__(self) -> str:
        return f"{self.task} ({self.confidence:.2f})"


# What a picture is taken for that is of one colour all over: an estimator would name some damage even so.
BLANK = Estimate("blank", 1.0)


class Pass(NamedTuple):
    """One restoration.

    The task (None where the caller gave the step), its probability (None where the caller named the task; of damage
    that was tried out, the share of the unevenness that is gone without it), the time step, and the share of this
    pass's change that is applied, in (0, 1].
    """

    task: str | None
    confidence: float | None
    step: int
    strength: float = 1.0

    def __str__(self) -> str:
        partly = "" if self.strength == 1 else f", strength {self.strength:g}"
        if self.task is None:
            return f"step {self.step}{partly}"
        found = self.task if self.confidence is None else str(Estimate(self.task, self.confidence))
        return f"{found}, step {self.step}{partly}"


@dataclass(frozen=True)
class Outcome:
    """What became of a picture.

    Attributes:
        passes: The restorations, in their order; none where the picture was left as it was.
        stopped_at: What was estimated last, where that was no ground for a further pass, or `BLANK`; None otherwise.
        strength: The share of all passes' change together that was applied, in [0, 1].
        size: Width and height of the picture in pixels.
        seconds: What it took, in wall-clock seconds.
        warnings: What the caller should know.
        precision: In which the network computed: "float32", "bf16" or "fp16".
    """

    passes: tuple[Pass, ...] = ()
    stopped_at: Estimate | None = None
    strength: float = 1.0
    size: tuple[int, int] = (0, 0)
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    precision: str = "float32"

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return bool(self.passes)

    @property
    def task(self) -> str | None:
        """The task of the first pass; of a picture left as it was, what it was taken for."""
        return self.passes[0].task if self.passes else self._left("task")

    @property
    def confidence(self) -> float | None:
        """The probability of `task`, or what a `Pass` has in its place, None where nothing was estimated."""
        return self.passes[0].confidence if self.passes else self._left("confidence")

    @property
    def step(self) -> int | None:
        """The time step of the first pass, None where there was none."""
        return self.passes[0].step if self.passes else None

    def _left(self, name: str):
        return None if self.stopped_at is None else getattr(self.stopped_at, name)

    @property
    def pixels(self) -> int:
        """The number of the picture's pixels."""
        return self.size[0] * self.size[1]

    def __str__(self) -> str:
        """For people: "low-light (0.93), step 31; noisy (0.88), step 7", or why the picture was left."""
        if not self.passes:
            return f"left as it is: {self._reason()}"
        partly = "" if self.strength == 1 else f"; strength {self.strength:g}"
        return "; ".join(map(str, self.passes)) + partly

    def _reason(self) -> str:
        if self.strength == 0:
            return "strength 0"
        if self.stopped_at is None:
            return "nothing to do"
        if self.stopped_at == BLANK:
            return "blank, of one colour all over"
        return str(self.stopped_at) if self.stopped_at.task == CLEAN else f"unsure, {self.stopped_at} at most"
