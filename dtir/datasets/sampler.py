"""Counter-based sampling: which picture a draw shows is a pure function of (seed, stage, draw number).

Nothing about the sampling is ever saved: a resumed run asks for the draws from its iteration on, and two processes
with batches of 4 ask for the same draws as one process with batches of 8.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np

from dtir.core.errors import ConfigError
from dtir.registry import DATA_SAMPLERS

Mixing = Literal["balanced", "proportional"]

_TASK_ORDER, _PICTURE_ORDER, _UNION_ORDER = range(3)


class SampleKey(NamedTuple):
    """Everything that determines one training sample.

    Attributes:
        stage: number of the training stage.
        draw: global draw number in the stage, `iteration * global_batch + slot`.
        task: index of the task in the dataset's `tasks`.
        index: index of the picture within that task.
        generative: whether the sample carries the generative objective (a clean picture) or the restoring one.
        patch: side of the training patch in pixels; None leaves it to the dataset.
    """

    stage: int
    draw: int
    task: int
    index: int
    generative: bool
    patch: int | None = None


def _permutation(size: int, seed: int, *address: int) -> np.ndarray:
    # A spawn key keeps these streams apart from `default_rng((seed, stage, draw))`, which seeds the augmentation:
    # numpy pads plain entropy with zeros, so that (a, b, c) and (a, b, c, 0) would be one stream.
    sequence = np.random.SeedSequence(seed, spawn_key=address)
    return np.random.default_rng(sequence).permutation(size)


class _PermutationCache:
    """The most recent permutation of each of a few endless sequences of permutations."""

    def __init__(self, seed: int):
        self._seed = seed
        self._latest: dict[tuple[int, ...], tuple[int, np.ndarray]] = {}

    def get(self, size: int, sequence: tuple[int, ...], number: int) -> np.ndarray:
        held = self._latest.get(sequence)
        if held is None or held[0] != number:
            held = (number, _permutation(size, self._seed, *sequence, number))
            self._latest[sequence] = held
        return held[1]


class _BalancedMixing:
    """Every block of k consecutive draws holds each of the k tasks once, in random order."""

    def __init__(self, stage: int, tasks: Sequence[int], sizes: Sequence[int], cache: _PermutationCache):
        self._stage, self._tasks, self._sizes, self._cache = stage, tasks, sizes, cache

    def picture(self, draw: int) -> tuple[int, int]:
        block, position = divmod(draw, len(self._tasks))
        order = self._cache.get(len(self._tasks), (self._stage, _TASK_ORDER), block)
        task = self._tasks[order[position]]
        # A block shows each task once, so the block's number counts every task's own draws.
        epoch, place = divmod(block, self._sizes[task])
        pictures = self._cache.get(self._sizes[task], (self._stage, _PICTURE_ORDER, task), epoch)
        return task, int(pictures[place])


class _ProportionalMixing:
    """Every epoch of the union shows each picture of every task once, in random order."""

    def __init__(self, stage: int, tasks: Sequence[int], sizes: Sequence[int], cache: _PermutationCache):
        self._stage, self._tasks, self._cache = stage, tasks, cache
        self._ends = np.cumsum([sizes[task] for task in tasks])

    def picture(self, draw: int) -> tuple[int, int]:
        total = int(self._ends[-1])
        epoch, place = divmod(draw, total)
        picture = int(self._cache.get(total, (self._stage, _UNION_ORDER), epoch)[place])
        member = int(np.searchsorted(self._ends, picture, side="right"))
        start = int(self._ends[member - 1]) if member else 0
        return self._tasks[member], picture - start


_MIXINGS = {"balanced": _BalancedMixing, "proportional": _ProportionalMixing}


class StageDraws:
    """The draws of one stage, as a function of the draw number.

    Args:
        seed: non-negative seed of the run.
        stage: number of the stage.
        tasks: indices of the tasks that take part.
        sizes: number of pictures of *every* task of the dataset.
        generative_share: exact share in [0, 1] of the draws that carry the generative objective. A float counts as
            the decimal it prints as, so 0.3 is exactly three in ten.
        mixing: 'balanced' (tasks equally often) or 'proportional' (pictures equally often).
        patch: side of the training patches in pixels; None leaves it to the dataset.

    Raises:
        ConfigError: a value is out of its range.
    """

    def __init__(
        self,
        seed: int,
        stage: int,
        tasks: Sequence[int],
        sizes: Sequence[int],
        generative_share: float | Fraction = 0,
        mixing: Mixing = "balanced",
        patch: int | None = None,
    ):
        self.stage, self.patch = stage, patch
        self.tasks = tuple(tasks)
        self.share = Fraction(str(generative_share))
        self._check(len(sizes), mixing)
        self._mixing = _MIXINGS[mixing](stage, self.tasks, sizes, _PermutationCache(seed))

    def _check(self, num_tasks: int, mixing: str) -> None:
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise ConfigError(f"stage {self.stage}: tasks={list(self.tasks)} must name at least one task, none twice.")
        if not all(0 <= task < num_tasks for task in self.tasks):
            raise ConfigError(f"stage {self.stage}: tasks={list(self.tasks)}, but the dataset has {num_tasks} tasks.")
        if not 0 <= self.share <= 1:
            raise ConfigError(f"stage {self.stage}: generative_share={float(self.share)} must lie in [0, 1].")
        if mixing not in _MIXINGS:
            raise ConfigError(f"stage {self.stage}: mixing='{mixing}' must be one of {', '.join(_MIXINGS)}.")

    def is_generative(self, draw: int) -> bool:
        """Whether draw number `draw` is generative: the first n draws hold exactly `floor(n * share)` such draws."""
        return (draw + 1) * self.share // 1 > draw * self.share // 1

    def key_at(self, draw: int) -> SampleKey:
        """Returns the key of draw number `draw` >= 0, at a cost independent of `draw` (amortised over an epoch)."""
        task, index = self._mixing.picture(draw)
        return SampleKey(self.stage, draw, task, index, self.is_generative(draw), self.patch)


@DATA_SAMPLERS.register_module()
class MultiTaskBatchSampler:
    """Batches of `SampleKey` for a `MultiTaskDataset`; give it to a `DataLoader` as `batch_sampler`.

    Batch b of rank r holds the draws `[(b * world_size + r) * batch_size, ... + batch_size)`, so the global batch b is
    the same for every way of splitting it over processes.

    Args:
        sizes: number of pictures of every task of the dataset (`MultiTaskDataset.sizes`).
        batch_size: samples of one batch of one process.
        seed: non-negative seed of the run.
        rank: this process, in [0, world_size).
        world_size: number of processes.

    Raises:
        ConfigError: a value is out of its range.
    """

    def __init__(self, sizes: Sequence[int], batch_size: int, seed: int = 0, rank: int = 0, world_size: int = 1):
        if not sizes or min(sizes) < 1:
            raise ConfigError(f"sizes={list(sizes)}: every task needs at least one picture.")
        if batch_size < 1 or seed < 0 or not 0 <= rank < world_size:
            raise ConfigError(
                f"batch_size={batch_size}, seed={seed}, rank={rank}, world_size={world_size}: expected a positive "
                "batch size, a non-negative seed, and a rank in [0, world_size)."
            )
        self.sizes = list(sizes)
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self._plan: StageDraws | None = None
        self._start = self._num_batches = 0

    def set_stage(
        self,
        stage: int,
        tasks: Sequence[int],
        generative_share: float | Fraction,
        num_batches: int,
        start: int = 0,
        mixing: Mixing = "balanced",
        patch: int | None = None,
    ) -> None:
        """Announces the stage that the next `iter()` serves; iterators already running keep theirs.

        Args:
            stage: number of the stage.
            tasks: indices of the tasks that take part.
            generative_share: exact share in [0, 1] of generative samples.
            num_batches: batches of the whole stage.
            start: first batch to serve, in [0, num_batches]; a resumed run starts in the middle.
            mixing: 'balanced' (tasks equally often) or 'proportional' (pictures equally often).
            patch: side of the training patches in pixels; None leaves it to the dataset.

        Raises:
            ConfigError: a value is out of its range.
        """
        if stage < 0 or not 0 <= start <= num_batches:
            raise ConfigError(f"stage {stage}: start={start} must lie in [0, num_batches={num_batches}], stage >= 0.")
        self._plan = StageDraws(self.seed, stage, tasks, self.sizes, generative_share, mixing, patch)
        self._start, self._num_batches = start, num_batches

    @property
    def plan(self) -> StageDraws:
        """The draws of the stage announced last."""
        if self._plan is None:
            raise RuntimeError("call set_stage(...) before drawing from the MultiTaskBatchSampler")
        return self._plan

    def key_at(self, draw: int) -> SampleKey:
        """Returns the key of global draw number `draw` of the current stage."""
        return self.plan.key_at(draw)

    def __len__(self) -> int:
        return self._num_batches - self._start

    def __iter__(self) -> Iterator[list[SampleKey]]:
        return self._batches(self.plan, range(self._start, self._num_batches))

    def _batches(self, plan: StageDraws, numbers: range) -> Iterator[list[SampleKey]]:
        for number in numbers:
            first = (number * self.world_size + self.rank) * self.batch_size
            yield [plan.key_at(draw) for draw in range(first, first + self.batch_size)]
