"""Which degradation a picture has, and how much of it: the blind task and time step (`task="auto"`, `t="auto"`)."""

import bisect
import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.models.backbones.parts.layers import LayerNorm2d

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
    """

    def __init__(
        self,
        num_tasks: int,
        width: int = 24,
        classes: Sequence[str] = (),
        least_confidence: float = LEAST_CONFIDENCE,
        least_of_two: float | None = None,
        steps: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        self.width, self.classes = width, tuple(classes)
        self.steps = {task: tuple(own) for task, own in (steps or {}).items()}
        self.least_confidence, self.least_of_two = least_confidence, least_of_two
        widths = [6, width, 2 * width, 4 * width, 5 * width, 5 * width]
        first, *others = (_halving(channels, out) for channels, out in itertools.pairwise(widths))
        # Half of the cost would be at the largest resolution, for the least to tell.
        self.features = nn.Sequential(first, nn.GELU(), *(_stage(halving) for halving in others))
        self.head = nn.Linear(3 * widths[-1], num_tasks)
        self.step_head = nn.Linear(3 * widths[-1], len(self.steps)) if self.steps else None

    def settings(self) -> dict[str, object]:
        """What a file of the weights has to name beside them."""
        return {
            "width": self.width,
            "classes": list(self.classes),
            "least_confidence": self.least_confidence,
            "least_of_two": self.least_of_two,
            **({"steps": {task: list(own) for task, own in self.steps.items()}} if self.steps else {}),
        }

    def forward(self, lq: Tensor) -> Tensor:
        """Degraded pictures (B, 3, H, W) in [0, 1], H, W >= 1, to logits (B, num_tasks)."""
        return self.answers(judged_part(lq))[0]

    def both(self, lq: Tensor) -> tuple[Tensor, Tensor]:
        """The logits (B, num_tasks) of pictures as in `forward`, and their places, (B, number of `steps`)."""
        return self.answers(judged_part(lq))

    def answers(self, part: Tensor) -> tuple[Tensor, ...]:
        """The logits of what `judged_part` has taken of the pictures, and their places where it has `steps`."""
        described = self._described(part)
        return tuple(head(described) for head in (self.head, self.step_head) if head is not None)

    def place(self, task: str, step: int) -> float:
        """Where a step is among those of a task, from -1 to 1; one between two of them is taken for the larger."""
        own = self.steps[task]
        return 2 * min(bisect.bisect_left(own, step), len(own) - 1) / max(len(own) - 1, 1) - 1

    def step_of(self, lq: Tensor, task: str) -> int:
        """The time step, among those of a task in `steps`, of one picture (1, 3, H, W) in [0, 1]."""
        return step_at(self.both(lq)[1], self.steps, task)

    def _described(self, part: Tensor) -> Tensor:
        detail = part - F.avg_pool2d(F.pad(part, (1, 1, 1, 1), mode="replicate"), 3, 1)
        y = self.features(torch.cat([2 * part - 1, DETAIL_GAIN * detail], 1)).flatten(2).float()
        spread = (y.var(2, correction=0) + 1e-6).sqrt()
        return torch.cat([y.mean(2), spread, _soft_maximum(y)], 1)


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


def _soft_maximum(y: Tensor) -> Tensor:
    # log mean exp, which is between the mean and the largest value however many values there are.
    largest = y.amax(2, keepdim=True)
    return (y - largest).exp().mean(2).log() + largest[..., 0]


class _Residual(nn.Module):
    """A depthwise convolution of 5 x 5 and a two-layer perceptron at every pixel, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 5, padding=2, groups=channels),
            LayerNorm2d(channels),
            nn.Conv2d(channels, 2 * channels, 1),
            nn.GELU(),
            nn.Conv2d(2 * channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _halving(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, 3, 2, 1), LayerNorm2d(out))


def _stage(halving: nn.Sequential) -> nn.Sequential:
    return nn.Sequential(halving, _Residual(halving[0].out_channels))
