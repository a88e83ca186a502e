"""UniPC, a unified predictor and corrector of any order (Zhao et al., NeurIPS 2023)."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.samplers.base import Run, Sampler
from dtir.diffusion.schedulers.base import Scheduler
from dtir.registry import SAMPLERS


@SAMPLERS.register_module()
class UniPCSampler(Sampler):
    """Multistep steps in log SNR from the last predictions of x_0, each corrected by the prediction that follows it.

    One evaluation of the network per step: what a step predicts at its end both corrects it and begins the next. The
    variant is the published B_2, which predicts x_0. The error is of order p, with the corrector of p + 1.

    Args:
        order: p, 1 to 3; the first steps have no more predictions than there were steps.
        corrector: Whether steps are corrected.

    Raises:
        ConfigError: `order` is not one of these.
    """

    def __init__(self, order: int = 2, corrector: bool = True) -> None:
        if order not in (1, 2, 3):
            raise ConfigError(f"UniPCSampler: order={order} must be 1, 2 or 3.")
        self.order, self.corrector = order, corrector

    @override
    def states(self, run: Run, x: Tensor, path: Sequence[int]) -> Iterator[Tensor]:
        """The last one is the prediction itself."""
        # Log SNR / 2 and prediction of x_0 of the last steps, the latest first; the state and the step before.
        past: list[tuple[Tensor, Tensor]] = []
        before: tuple[Tensor, int] | None = None
        for t, t_prev in pairwise(path):
            a, sigma = run.scheduler.marginal(t)
            x0 = run.scheduler.x0_from_eps(x, run.eps(x, t), t)
            if before is not None and self.corrector:
                x = _moved(run.scheduler, *before, past, t, x0)
            past = [(torch.log(a / sigma), x0), *past][: self.order]
            if t_prev == 0:
                a_prev, sigma_prev = run.scheduler.marginal(0)
                yield a_prev * x0 + sigma_prev * run.scheduler.eps_from_x0(x, x0, t)
                return
            before = x, t
            x = _moved(run.scheduler, x, t, past, t_prev)
            yield x


def _moved(
    scheduler: Scheduler,
    x: Tensor,
    t: int,
    past: list[tuple[Tensor, Tensor]],
    t_prev: int,
    ahead: Tensor | None = None,
) -> Tensor:
    """The state at t_prev, by the predictions so far and, as a correction, the one at t_prev."""
    (_, sigma), (a_prev, sigma_prev) = scheduler.marginal(t), scheduler.marginal(t_prev)
    (here, x0), *older = past
    h = torch.log(a_prev / sigma_prev) - here
    # Places of the other predictions, in steps from here, and their differences from the one here.
    places = [(there - here) / h for there, _ in older]
    differences = [other - x0 for _, other in older]
    if ahead is not None:
        places.append(torch.ones_like(h))
        differences.append(ahead - x0)
    whole = torch.expm1(-h)
    moved = sigma_prev / sigma * x - a_prev * whole * x0
    if not places:
        return moved
    weights = _weights(torch.cat([place.flatten() for place in places]), h.flatten())
    slope = sum(
        weight / place * difference for weight, place, difference in zip(weights, places, differences, strict=True)
    )
    return moved - a_prev * whole * slope


def _weights(places: Tensor, h: Tensor) -> Tensor:
    """The weights (n,) of differences at places (n,) with which a polynomial through them is integrated exactly.

    They solve equation 5 of the paper; a single predictor's difference gets a half, as published.
    """
    n = len(places)
    if n == 1:
        return places.new_full((1,), 0.5)
    moments, phi = [], torch.expm1(-h) / -h - 1
    for k in range(1, n + 1):
        moments.append(phi * math.factorial(k) / torch.expm1(-h))
        phi = phi / -h - 1 / math.factorial(k + 1)
    powers = torch.stack([places**k for k in range(n)])
    # Without the check for singular systems, which would wait for the device: places differ, so that there is none.
    return torch.linalg.solve_ex(powers.double(), torch.cat(moments).double())[0].to(places.dtype)
