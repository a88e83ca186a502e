"""Which degradation a picture has: the blind time step (`task="auto"`)."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# A larger picture is judged by this much of its middle: damage is everywhere, and pixels must keep their size.
SIDE = 768
LEAST_SIDE = 16
# Below this probability of the likeliest class an estimate is no ground to change a picture.
LEAST_CONFIDENCE = 0.5


class TaskEstimator(nn.Module):
    """A small convolutional network from degraded pictures to the logits of the tasks.

    It works at the picture's own resolution, since noise and compression are gone from a smaller copy, and pools mean
    and largest value of its features.

    Args:
        num_tasks: Tasks.
        width: Channels of the first layer.
        classes: Names of what it tells apart: the tasks of its restorer, `dtir.tasks.CLEAN` among them where it was
            trained on clean pictures.
        least_confidence: Probability in [0, 1] below which it does not know.
    """

    def __init__(
        self,
        num_tasks: int,
        width: int = 24,
        classes: Sequence[str] = (),
        least_confidence: float = LEAST_CONFIDENCE,
    ) -> None:
        super().__init__()
        self.width, self.classes, self.least_confidence = width, tuple(classes), least_confidence
        widths = [3, width, 2 * width, 4 * width, 4 * width]
        layers: list[nn.Module] = []
        for channels, out in itertools.pairwise(widths):
            layers += [nn.Conv2d(channels, out, 3, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(out, out, 3, padding=1)]
            layers += [nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(2 * widths[-1], num_tasks)

    def settings(self) -> dict[str, object]:
        """What a file of the weights has to name beside them."""
        return {"width": self.width, "classes": list(self.classes), "least_confidence": self.least_confidence}

    def forward(self, lq: Tensor) -> Tensor:
        """Degraded pictures (B, 3, H, W) in [0, 1], H, W >= 1, to logits (B, num_tasks)."""
        return self.logits(judged_part(lq))

    def logits(self, part: Tensor) -> Tensor:
        """Of what `judged_part` has taken of the pictures."""
        y = self.features(2 * part - 1)
        return self.head(torch.cat([y.mean((2, 3)), y.amax((2, 3))], 1))


def judged_part(lq: Tensor) -> Tensor:
    """The middle of pictures (B, 3, H, W), at most `SIDE` high and wide, continued to `LEAST_SIDE` where smaller."""
    height, width = lq.shape[-2:]
    if max(height, width) > SIDE:
        top, left = max(0, (height - SIDE) // 2), max(0, (width - SIDE) // 2)
        lq = lq[..., top : top + SIDE, left : left + SIDE]
    short = (max(0, LEAST_SIDE - lq.shape[-1]), max(0, LEAST_SIDE - lq.shape[-2]))
    return F.pad(lq, (0, short[0], 0, short[1]), mode="replicate") if any(short) else lq
