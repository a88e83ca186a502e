"""Which degradation a picture has, and how much of it: the blind task and time step (`task="auto"`, `t="auto"`)."""

import bisect
import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.core.errors import ConfigError
from dtir.models.describing import DESCRIBED_BY, Residual, described, halving
from dtir.models.glance import Glance
from dtir.tasks import CLEAN

# A larger picture is judged by this much of its middle: damage is everywhere, and pixels must keep their size.
SIDE = 768
LEAST_SIDE = 16
# Noise and the edges of JPEG blocks are small beside the picture that they are in.
DETAIL_GAIN = 4.0
# Below this probability of the likeliest class an estimate is no ground to change a picture.
LEAST_CONFIDENCE = 0.5


class TaskEstimator(nn.Module):
    """A small convolutional network from degraded pictures to the logits of the tasks.

    It works at the picture's own resolution, since noise and compression are gone from a smaller copy, and sees the
    fine detail beside the picture, four times as strong. Mean, spread and soft maximum of its features over the picture
    do not grow with the picture's size, so that what it learned of crops holds for whole photographs.

    Where samples had time steps of their own, a second head tells, for each task that had, where between the least and
    the largest of its steps a picture is, from -1 to 1. It is the place among the steps, and not the step: those of a
    task need not be evenly spaced, and 0, nothing to do, may be far from the others.

    Args:
        num_tasks: Tasks.
        width: Channels of the first layer.
        classes: Names of what it tells apart: the tasks of its restorer, `dtir.tasks.CLEAN` among them where it was
            trained on clean pictures.
        least_confidence: Probability in [0, 1] below which it does not know.
        least_of_two: Probability in [0, 1] of the two likeliest damages together from which on it knows all the same
            that the likelier is to be restored; None where it never does.
        steps: Time steps, ascending, that the samples of a task had of their own, by its name; none where samples have
            their task's.
        trials: By damage that its restorer is to try out where this names no more, the least share of the picture's
            unevenness, above 0 and at most 1, that has to be gone then (`dtir.apis.restoring.trial`).
        glance: Arguments of a `Glance`, which is asked about pictures of whose damage this is not sure; None is none.

    Raises:
        ConfigError: The glance tells what is not among `classes`.
    """

    def __init__(
        self,
        num_tasks: int,
        width: int = 24,
        classes: Sequence[str] = (),
        least_confidence: float = LEAST_CONFIDENCE,
        least_of_two: float | None = None,
        steps: Mapping[str, Sequence[int]] | None = None,
        trials: Mapping[str, float] | None = None,
        glance: Mapping | None = None,
    ) -> None:
        super().__init__()
        self.width, self.classes = width, tuple(classes)
        self.steps = {task: tuple(own) for task, own in (steps or {}).items()}
        self.least_confidence, self.least_of_two = least_confidence, least_of_two
        self.trials = dict(trials or {})
        widths = [6, width, 2 * width, 4 * width, 5 * width, 5 * width]
        first, *others = (halving(channels, out) for channels, out in itertools.pairwise(widths))
        # Half of the cost would be at the largest resolution, for the least to tell.
        self.features = nn.Sequential(first, nn.GELU(), *(_stage(made) for made in others))
        self.head = nn.Linear(DESCRIBED_BY * widths[-1], num_tasks)
        self.step_head = nn.Linear(DESCRIBED_BY * widths[-1], len(self.steps)) if self.steps else None
        self.glance = Glance(**glance) if glance else None
        unknown = set(self.glance.told if self.glance else ()) - set(self.classes)
        if unknown:
            raise ConfigError(
                f"the glance tells {', '.join(sorted(unknown))}, which is not among the estimator's classes "
                f"({', '.join(self.classes) or 'none are named'})."
            )

    def settings(self) -> dict[str, object]:
        """What a file of the weights has to name beside them."""
        return {
            "width": self.width,
            "classes": list(self.classes),
            "least_confidence": self.least_confidence,
            "least_of_two": self.least_of_two,
            **({"steps": {task: list(own) for task, own in self.steps.items()}} if self.steps else {}),
            **({"trials": dict(self.trials)} if self.trials else {}),
            **({"glance": self.glance.settings()} if self.glance else {}),
        }

    def forward(self, lq: Tensor) -> Tensor:
        """Degraded pictures (B, 3, H, W) in [0, 1], H, W >= 1, to logits (B, num_tasks)."""
        return self.answers(judged_part(lq))[0]

    def both(self, lq: Tensor) -> tuple[Tensor, Tensor]:
        """The logits (B, num_tasks) of pictures as in `forward`, and their places, (B, number of `steps`)."""
        return self.answers(judged_part(lq))

    def answers(self, part: Tensor) -> tuple[Tensor, ...]:
        """The logits of what `judged_part` has taken of the pictures, and their places where it has `steps`."""
        found = self._described(part)
        logits = self.head(found)
        if self.glance is not None:
            logits = self.glance.revise(logits, part, self.classes, self._sure(logits))
        return (logits,) if self.step_head is None else (logits, self.step_head(found))

    def place(self, task: str, step: int) -> float:
        """Where a step is among those of a task, from -1 to 1; one between two of them is taken for the larger."""
        own = self.steps[task]
        return 2 * min(bisect.bisect_left(own, step), len(own) - 1) / max(len(own) - 1, 1) - 1

    def step_of(self, lq: Tensor, task: str) -> int:
        """The time step, among those of a task in `steps`, of one picture (1, 3, H, W) in [0, 1]."""
        return step_at(self.both(lq)[1], self.steps, task)

    def _sure(self, logits: Tensor) -> Tensor:
        # Of a damage, or of two together.
        damages = [place for place, name in enumerate(self.classes) if name != CLEAN]
        largest = logits.softmax(1)[:, damages].topk(min(2, len(damages)), 1).values
        sure = largest[:, 0] >= self.least_confidence
        return sure if self.least_of_two is None else sure | (largest.sum(1) >= self.least_of_two)

    def _described(self, part: Tensor) -> Tensor:
        detail = part - F.avg_pool2d(F.pad(part, (1, 1, 1, 1), mode="replicate"), 3, 1)
        return described(self.features(torch.cat([2 * part - 1, DETAIL_GAIN * detail], 1)))


def step_at(places: Tensor, steps: Mapping[str, Sequence[int]], task: str) -> int:
    """The time step, among those of a task, that the places (1, number of `steps`) of one picture come to."""
    own, place = steps[task], places[0, list(steps).index(task)].clamp(-1, 1)
    return own[round((float(place) + 1) / 2 * (len(own) - 1))]


def judged_part(lq: Tensor) -> Tensor:
    """The middle of pictures (B, 3, H, W), at most `SIDE` high and wide, continued to `LEAST_SIDE` where smaller."""
    height, width = lq.shape[-2:]
    if max(height, width) > SIDE:
        top, left = max(0, (height - SIDE) // 2), max(0, (width - SIDE) // 2)
        lq = lq[..., top : top + SIDE, left : left + SIDE]
    short = (max(0, LEAST_SIDE - lq.shape[-1]), max(0, LEAST_SIDE - lq.shape[-2]))
    return F.pad(lq, (0, short[0], 0, short[1]), mode="replicate") if any(short) else lq


def _stage(made: nn.Sequential) -> nn.Sequential:
    return nn.Sequential(made, Residual(made[0].out_channels))
