"""Mean cosines between the gradients of all samples of an optimiser step, wherever these are computed."""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from mmengine.dist import get_world_size
from torch import Tensor
from torch.nn import functional as F


@dataclass
class GradientSums:
    """Sums over samples' gradients, from which the mean cosines between pairs of them follow.

    With U_k the sum of the unit gradients of objective k, the cosines of all pairs within it sum to |U_k|^2 less one
    for each sample, and those of all pairs across the two to U_0 U_1. So the sums of a step are those of its parts,
    added up.

    Attributes:
        units: (2, F), sums of unit gradients of the generative and of the restoring samples.
        gradients: (2, F), sums of the gradients.
        squares: (2,), sums of the unit gradients' squared norms; a gradient of zeros has no direction.
        counts: (2,), numbers of samples.
    """

    units: Tensor
    gradients: Tensor
    squares: Tensor
    counts: Tensor

    @classmethod
    def of(cls, gradients: Tensor, num_generative: int) -> "GradientSums":
        """The sums of gradients (B, F), those of the generative samples first."""
        units = unit(gradients)
        parts = [(part[:num_generative], part[num_generative:]) for part in (units, gradients, units.square().sum(1))]
        sums = [torch.stack([first.sum(0), second.sum(0)]) for first, second in parts]
        return cls(*sums, gradients.new_tensor([num_generative, len(gradients) - num_generative]))

    def __add__(self, other: "GradientSums") -> "GradientSums":
        return GradientSums(*(own + added for own, added in zip(self._parts(), other._parts(), strict=True)))

    def _parts(self) -> tuple[Tensor, ...]:
        return self.units, self.gradients, self.squares, self.counts

    def reduced(self) -> "GradientSums":
        """The sums over all processes."""
        if get_world_size() == 1:
            return self
        parts = self._parts()
        flat = torch.cat([part.flatten() for part in parts])
        dist.all_reduce(flat)
        pieces = flat.split([part.numel() for part in parts])
        return GradientSums(*(piece.view_as(part) for piece, part in zip(pieces, parts, strict=True)))

    def cosines(self) -> tuple[Tensor, Tensor]:
        """s, the mean over pairs of the same objective, 1 without any, and d, that over pairs of different ones, 0
        without any; scalars."""
        pairs, within = self._pairs(), (self.units.square().sum(1) - self.squares).sum()
        same = torch.where(pairs > 0, within / pairs.clamp(min=1), 1.0)
        return same, (self.units[0] * self.units[1]).sum() / self._cross_pairs()

    def objective_cosine(self) -> Tensor:
        """The cosine between the two objectives' sums of gradients, a scalar."""
        return F.cosine_similarity(self.gradients[0], self.gradients[1], dim=0)

    def slope(self, units: Tensor, num_generative: int) -> Tensor:
        """The derivative of `(1 - s) + |d|` at some of the samples.

        Args:
            units: Their unit gradients (B, F), those of the generative samples first.
            num_generative: How many these are.

        Returns:
            Of each unit gradient (B, F), without the part along itself, which normalisation takes away.
        """
        own = self._spread(self.units, units, num_generative) - units
        across = self._spread(self.units.flip(0), units, num_generative)
        _, cross = self.cosines()
        return cross.sign() / self._cross_pairs() * across - 2 / self._pairs().clamp(min=1) * own

    @staticmethod
    def _spread(rows: Tensor, like: Tensor, num_generative: int) -> Tensor:
        counts = torch.tensor([num_generative, len(like) - num_generative], device=like.device)
        return rows.repeat_interleave(counts, dim=0, output_size=len(like))

    def _pairs(self) -> Tensor:
        return (self.counts * (self.counts - 1)).sum()

    def _cross_pairs(self) -> Tensor:
        return self.counts.prod().clamp(min=1)


def unit(gradients: Tensor) -> Tensor:
    """Rows (B, F) of length 1; rows of zeros, and rows that overflowed, become zeros."""
    units = F.normalize(gradients, dim=1)
    usable = units.isfinite().all(1, keepdim=True) & (units != 0).any(1, keepdim=True)
    return torch.where(usable, units, 0.0)
