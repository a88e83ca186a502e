"""What a restorer, and its estimator, may have besides what each must: read off them here, and nowhere else.

A restorer must have `tasks` (names), `matched_t` (long, one for each task, -1 where a task was not matched),
`num_timesteps`, and `restore(lq (B, 3, H, W) in [0, 1], t (B,) long)`; an estimator takes pictures (B, 3, H, W) in
[0, 1] to logits of classes. One with `steps` also has `step_of(picture (1, 3, H, W), task)`, a time step of these.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dtir.apis.restoring.outcome import Pass
from dtir.apis.restoring.precision import in_precision
from dtir.imaging.tiling import tiled_apply
from dtir.models.backbones.traits import Traits, traits_of


class Offer(NamedTuple):
    """What a restorer offers, by the names of its attributes.

    Attributes:
        traits: What it declares of itself; those of its `backbone` where it declares nothing.
        estimator: What tells the damage of a picture; None where the damage has to be named.
        apply_in_tiles: Restores a picture in tiles, with the arguments of `tiled_apply`, which it is by default.
        tiles_alone: Whether each tile is then restored by itself; by default where `apply_in_tiles` is not its own.
        at_precision: Makes a context in which it computes in a precision; mixed precision by default.
        precisions: Those that it computes in; None for all.
        instruct: Tells it what to do in words, until the next call; None where it does not listen to words.
        flips_up_to: Pixels of a picture up to which it is to be restored as the mean over the four flips.
    """

    traits: Traits
    estimator: nn.Module | None
    apply_in_tiles: Callable[..., Tensor]
    tiles_alone: bool
    at_precision: Callable[[str], AbstractContextManager]
    precisions: tuple[str, ...] | None
    instruct: Callable[[str], Pass] | None
    flips_up_to: int

    @property
    def is_exported(self) -> bool:
        """Whether another runtime computes it."""
        return self.precisions is not None


class Judgement(NamedTuple):
    """How an estimator's answers are taken, by the names of its attributes.

    Attributes:
        classes: What its logits stand for; the restorer's tasks by default.
        least_confidence: The least probability at which a picture is changed; by default any.
        least_of_two: The least probability of the two likeliest damages together at which a picture is restored of the
            likelier, although that alone is less sure; None where that is no ground.
        most_passes: The most passes that it is asked for; None for no limit of its own.
        step: The time step whatever it says, where it only says what the restorer sees; None for the task's.
        steps: By task, the time steps that it tells apart, where it estimates these too.
        trials: By damage that the restorer tries out on a small copy where the estimator names no more, the least
            share, above 0, of the picture's unevenness that has to be gone then, see `dtir.apis.restoring.trial`.
    """

    classes: tuple[str, ...]
    least_confidence: float = 0.0
    least_of_two: float | None = None
    most_passes: int | None = None
    step: int | None = None
    steps: Mapping[str, Sequence[int]] = MappingProxyType({})
    trials: Mapping[str, float] = MappingProxyType({})


def offer_of(restorer: nn.Module, device: torch.device) -> Offer:
    """What a restorer offers that runs on a device."""
    return Offer(
        restorer_traits(restorer),
        getattr(restorer, "estimator", None),
        getattr(restorer, "apply_in_tiles", tiled_apply),
        getattr(restorer, "tiles_alone", not hasattr(restorer, "apply_in_tiles")),
        getattr(restorer, "at_precision", functools.partial(in_precision, device)),
        getattr(restorer, "precisions", None),
        getattr(restorer, "instruct", None),
        getattr(restorer, "flips_up_to", 0),
    )


def restorer_traits(restorer: nn.Module) -> Traits:
    """The traits of a restorer: its own, or those of its `backbone`, or the cautious ones of a network without any."""
    own = getattr(restorer, "traits", None)
    return own if isinstance(own, Traits) else traits_of(getattr(restorer, "backbone", restorer))


def judgement_of(estimator: nn.Module | None, tasks: tuple[str, ...]) -> Judgement:
    """How the answers of the estimator of a restorer with these tasks are taken."""
    return Judgement(
        tuple(getattr(estimator, "classes", ())) or tasks,
        getattr(estimator, "least_confidence", 0.0),
        getattr(estimator, "least_of_two", None),
        getattr(estimator, "most_passes", None),
        getattr(estimator, "step", None),
        getattr(estimator, "steps", {}),
        getattr(estimator, "trials", {}),
    )
