"""Restores one picture in passes: missing regions filled, the damage named or estimated again and again."""

import functools
import time
from collections.abc import Callable, Collection

import torch
from torch import Tensor
from torch.nn import functional as F

from dtir.apis.restoring.judge import Judge
from dtir.apis.restoring.network import NetworkRunner
from dtir.apis.restoring.outcome import BLANK, Estimate, Outcome, Pass
from dtir.apis.restoring.plan import Planner
from dtir.apis.restoring.steps import TaskSteps
from dtir.apis.restoring.wish import AUTO, OnTile, Wish
from dtir.core.errors import ImageFileError

FILLING = "inpainting"
# What the missing pixels of training pictures are set to.
MISSING = 1.0
# Regions thinner than these pixels are widened for the network: strokes of training pictures are no thinner, and a
# white line of one pixel is a line to it, not a gap.
LEAST_WIDTH = 7

Run = Callable[[Tensor, int], Tensor]


class PassRestorer:
    """Restores pictures as a `Wish` says.

    Args:
        runner: Applies the network.
        steps: Time steps of the tasks.
        judge: Estimates the damage.
        planner: Makes plans of prompts.
    """

    def __init__(self, runner: NetworkRunner, steps: TaskSteps, judge: Judge, planner: Planner) -> None:
        self.runner, self.steps, self.judge, self.planner = runner, steps, judge, planner

    def check(self, wish: Wish, masked: bool = False) -> None:
        """Raises before any work what `restore` would raise of every picture.

        Raises:
            TaskError, ConfigError: See `RestorationInferencer.timestep`; or there is no estimator.
            PromptError: See `Planner.plan`.
        """
        if masked:
            self.steps.of_task(FILLING)
        if wish.prompt is not None:
            if not self.planner.plan(wish.prompt).passes:
                self.judge.check()
            return
        self.planner.check_unprompted()
        if wish.t == AUTO:
            self.judge.check_steps(wish.task and self.steps.known(wish.task))
        elif wish.named:
            self.steps.choose(wish.task, wish.t)
        elif wish.estimates(masked):
            self.judge.check()

    def restore(
        self, image: Tensor, wish: Wish, mask: Tensor | None = None, on_tile: OnTile | None = None
    ) -> tuple[Tensor, Outcome]:
        """Restores an image.

        Args:
            image: (1, 3, H, W) in [0, 1].
            wish: What is to be done.
            mask: (H, W) bool, True where pixels are missing; None where none are.
            on_tile: Called as `on_tile(tiles done, tiles in all)` in every pass.

        Returns:
            The restored image, which is `image` itself where nothing was done; and what was done.

        Raises:
            TaskError, ConfigError: See `check`.
            ImageFileError: It does not fit into memory, or the network's output is not finite, or the mask is of
                another size.
        """
        start = time.perf_counter()
        notes: list[str] = []
        run = functools.partial(self.runner.restore, on_tile=on_tile, notes=notes)
        whole, filled = self._fill(image, mask, run)
        restored, passes, stopped = whole, [], None
        planned = self.planned(wish, lambda: whole, bool(filled))
        if wish.strength == 0:
            # Left as it is, which is more than all but unchanged.
            pass
        elif planned:
            restored, passes = self._in_turn(whole, planned, run), planned
        elif planned is None and (wish.prompt is not None or wish.estimates(mask is not None)):
            restored, passes, stopped = self._blind(whole, wish, run)
        size, seconds = (image.shape[-1], image.shape[-2]), time.perf_counter() - start
        outcome = Outcome(
            (*filled, *passes), stopped, wish.strength, size, seconds, tuple(notes), self.runner.precision
        )
        return blended(whole, restored, wish.strength), outcome

    def planned(self, wish: Wish, look: Callable[[], Tensor], filled: bool = False) -> list[Pass] | None:
        """The passes that a wish names, in order; None where it leaves them to the estimator, or names none.

        Args:
            wish: What is to be done.
            look: Gives what of the picture is looked at where its step is to be estimated.
            filled: Whether missing regions have been filled, so that a prompt that names these asks for no more.
        """
        if wish.named and wish.t == AUTO:
            step = self.judge.step(look(), self.steps.known(wish.task))
            return [Pass(wish.task, None, step)] if step else []
        if wish.named:
            return [Pass(wish.task, None, self.steps.choose(wish.task, wish.t))]
        passes = self.planner.plan(wish.prompt).passes if wish.prompt is not None else ()
        return [planned for planned in passes if not (filled and planned.task == FILLING)] if passes else None

    def next_passes(
        self, image: Tensor, wish: Wish, avoided: Collection[str], left: int
    ) -> tuple[list[Pass], Estimate | None]:
        """What is to be restored next of an image by estimates, see `Judge.next_passes`, or else by a trial."""
        following, found = self.judge.next_passes(image, wish, self.steps, avoided, left)
        if following or found is None:
            return following, found
        tried = self.judge.tried(image, self.runner.restore, wish, self.steps, avoided)
        return ([], found) if tried is None else ([tried], None)

    def spared(self, wish: Wish) -> frozenset[str]:
        """Damages that are not to be touched."""
        return frozenset() if wish.prompt is None else frozenset(self.planner.plan(wish.prompt).kept)

    def _in_turn(self, image: Tensor, planned: list[Pass], run: Run) -> Tensor:
        for one in planned:
            image = blended(image, run(image, one.step), one.strength)
        return image

    def _fill(self, image: Tensor, mask: Tensor | None, run: Run) -> tuple[Tensor, list[Pass]]:
        if mask is None or not mask.any():
            return image, []
        if mask.shape != image.shape[-2:]:
            sizes = [f"{width} x {height}" for height, width in (mask.shape, image.shape[-2:])]
            raise ImageFileError(f"the mask is of {sizes[0]} pixels and the picture of {sizes[1]}; they must be equal.")
        step = self.steps.of_task(FILLING)
        filled = run(image.masked_fill(widened(mask), MISSING), step)
        return torch.where(mask, filled, image), [Pass(FILLING, None, step)]

    def _blind(self, image: Tensor, wish: Wish, run: Run) -> tuple[Tensor, list[Pass], Estimate | None]:
        """Restores what is estimated until there is no ground to go on; no damage is restored twice."""
        if self.judge.is_blank([image[0].movedim(0, -1).numpy()]):
            return image, [], BLANK
        passes: list[Pass] = []
        most = self.judge.most_passes(wish.passes)
        while len(passes) < most:
            avoided = {done.task for done in passes} | self.spared(wish)
            following, found = self.next_passes(image, wish, avoided, most - len(passes))
            if not following:
                return image, passes, found
            passes += following
            image = self._in_turn(image, following, run)
        return image, passes, None


def widened(mask: Tensor) -> Tensor:
    """A mask (H, W) bool whose thin parts (`LEAST_WIDTH`) have grown on all sides to about that width."""
    there = mask[None, None].float()
    wide = _grown(1 - _grown(1 - there))
    return mask | (_grown(there * (1 - wide))[0, 0] > 0)


def _grown(there: Tensor) -> Tensor:
    return F.max_pool2d(there, LEAST_WIDTH, 1, LEAST_WIDTH // 2)


def blended(before: Tensor, after: Tensor, strength: float) -> Tensor:
    """A picture (1, 3, H, W) of which so much is restored; the other part of one that was enlarged is enlarged too."""
    if after is before or strength == 1:
        return after
    if before.shape != after.shape:
        before = F.interpolate(before, after.shape[-2:], mode="bicubic", align_corners=False)
    return torch.lerp(before, after, strength)
