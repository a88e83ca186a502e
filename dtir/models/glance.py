"""What a picture has as a whole: damage that shows in the scene and not in its detail, such as haze."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dtir.models.describing import DESCRIBED_BY, Residual, described, halving

# Sides of the small copy, in pixels.
GLANCED = 96


class Glance(nn.Module):
    """A small convolutional network that judges pictures by a copy of 96 x 96 pixels, each the mean of its area.

    What it is given of a large picture is what an estimator sees of it, see `dtir.models.estimator.judged_part`.

    Such a copy has the scene and none of the detail, so that what it learns is not of cameras and their files.

    Args:
        told: What it tells apart beside none of them; names of damages.
        width: Half of the channels of the first layer.
    """

    def __init__(self, told: Sequence[str], width: int = 24) -> None:
        super().__init__()
        self.told, self.width = tuple(told), width
        first, last = 2 * width, 4 * width
        self.features = nn.Sequential(
            halving(3, first, kernel=6, stride=4),
            Residual(first),
            Residual(first),
            halving(first, last),
            Residual(last),
            Residual(last),
        )
        self.head = nn.Linear(DESCRIBED_BY * last, 1 + len(self.told))

    def settings(self) -> dict[str, object]:
        """What a file of the weights has to name beside them."""
        return {"told": list(self.told), "width": self.width}

    def forward(self, lq: Tensor) -> Tensor:
        """Degraded pictures (B, 3, H, W) in [0, 1] to logits (B, 1 + number of `told`), the first of none of them."""
        return self.head(described(self.features(2 * glimpse(lq) - 1)))

    def revise(self, logits: Tensor, lq: Tensor, classes: Sequence[str], sure: Tensor) -> Tensor:
        """The log-probabilities (B, C) of what an estimator takes pictures for, and what this sees in them.

        Of pictures whose damage the estimator is sure of it says nothing. Of others, what it sees is so, and where it
        sees none of `told` they are what the estimator says: p'(k) = q(k) + q(none) p(k).

        Args:
            logits: (B, C), of the estimator.
            lq: The pictures, (B, 3, H, W) in [0, 1].
            classes: What the C logits are of; all of `told` are among them.
            sure: (B,), whether the estimator is sure.
        """
        told, seen = logits.log_softmax(1), self(lq).log_softmax(1)
        columns = list((told + seen[:, :1]).unbind(1))
        for number, name in enumerate(self.told, start=1):
            place = classes.index(name)
            columns[place] = torch.stack([columns[place], seen[:, number]]).logsumexp(0)
        return torch.where(sure[:, None], told, torch.stack(columns, 1))


def glimpse(pictures: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) of any size as small ones (B, 3, 96, 96), each pixel the mean of its area."""
    # Numbers of pixels are not exact in 16 bits.
    pictures = pictures.float() if pictures.element_size() < 4 else pictures
    rows, columns = (_areas(size, pictures) for size in pictures.shape[-2:])
    return rows @ pictures @ columns.T


def _areas(size: int, like: Tensor) -> Tensor:
    # (96, size): the share that each of `size` pixels has in each of the areas. As a product of matrices it is the same
    # graph for all sizes, which adaptive pooling is not.
    edges = torch.arange(GLANCED + 1, dtype=like.dtype, device=like.device)[:, None] * (size / GLANCED)
    pixels = torch.arange(size, dtype=like.dtype, device=like.device)
    overlap = torch.minimum(pixels + 1, edges[1:]) - torch.maximum(pixels, edges[:-1])
    return overlap.clamp(min=0) * (GLANCED / size)
