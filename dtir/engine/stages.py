"""What a training consists of: stages, laid end to end on the axis of iterations.

The stage is a pure function of the iteration, so nothing about stages is saved, and a resumed run lands in the right
one.
"""

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from typing import Literal

from dtir.core.errors import ConfigError
from dtir.core.names import did_you_mean
from dtir.core.ranges import NonNegative, NonNegativeInt, Positive, PositiveInt, Share

SCHEDULES = ("cosine", "linear", "constant")
MIXINGS = ("balanced", "proportional")


@dataclass(frozen=True)
class Stage:
    """One stage as written in a config (`train_cfg.stages`).

    Attributes:
        name: Name in logs and for hooks, such as "pretrain", "finetune", "incremental".
        iters: Optimiser steps of the stage; of each of its parts if `per_task`, or a list of them, one per task.
        lr: Peak learning rate.
        tasks: "all", a list of task names, or an int n for the first n in ascending order of the matched time step.
        generative_share: Share in [0, 1] of the samples that carry the generative objective; 1 is pre-training.
        mixing: How tasks share the samples: "balanced" (equally) or "proportional" (to their number of pictures).
        trainable: Shell-style patterns of the names of the parameters that train; the others are frozen.
        schedule: "cosine" or "linear" decay from `lr` to `min_lr`, or "constant".
        min_lr: Learning rate at the end of the stage.
        warmup_iters: Iterations of linear warm-up from 0 to `lr`.
        validate: Validate when the stage ends, whatever the interval.
        per_task: Stands for one stage per task (docs/method.md, section 4, TIT): part k trains the first k tasks.
        patch: Side of the training patches in pixels, in place of the datasets' own `patch`.
    """

    name: str
    iters: PositiveInt | tuple[PositiveInt, ...]
    lr: Positive
    tasks: Literal["all"] | PositiveInt | tuple[str, ...] = "all"
    generative_share: Share = 0.0
    mixing: Literal["balanced", "proportional"] = "balanced"
    trainable: tuple[str, ...] = ("*",)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    min_lr: NonNegative = 0.0
    warmup_iters: NonNegativeInt = 0
    validate: bool = False
    per_task: bool = False
    patch: int | None = None

    def __post_init__(self) -> None:
        lengths = self.iters if isinstance(self.iters, tuple) else (self.iters,)
        _require(self, "iters", lengths != () and all(n >= 1 for n in lengths), "an integer >= 1")
        _require(self, "iters", self.per_task or not isinstance(self.iters, tuple), "one integer, without per_task")
        _require(self, "lr", self.lr > 0, "a number > 0")
        _require(self, "generative_share", 0 <= self.generative_share <= 1, "a number in [0, 1]")
        _require(self, "schedule", self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}")
        _require(self, "mixing", self.mixing in MIXINGS, f"one of {', '.join(MIXINGS)}")
        _require(self, "warmup_iters", 0 <= self.warmup_iters < min(lengths), "an integer in [0, iters)")
        _require(self, "patch", self.patch is None or self.patch >= 1, "an integer >= 1, or None")
        valid_tasks = self.tasks == "all" or not isinstance(self.tasks, str)
        _require(self, "tasks", valid_tasks, "'all', a list of task names, or a number of tasks")
        _require(self, "trainable", not isinstance(self.trainable, str), "a list of patterns such as ['backbone.*']")

    @classmethod
    def from_config(cls, config: Mapping) -> "Stage":
        """Builds a stage from a config dict.

        Raises:
            ConfigError: A key is unknown or missing, or a value is out of its range.
        """
        names = [field.name for field in fields(cls)]
        for key in config:
            if key not in names:
                hint = did_you_mean(key, names)
                raise ConfigError(f"stage {config.get('name')!r}: unknown key '{key}'.{hint} Keys: {', '.join(names)}.")
        missing = [key for key in ("name", "iters", "lr") if key not in config]
        if missing:
            raise ConfigError(f"stage {config.get('name')!r}: missing key(s) {', '.join(missing)}.")
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
        return cls(**values)


def _require(stage: Stage, key: str, valid: bool, expected: str) -> None:
    if not valid:
        raise ConfigError(f"stage '{stage.name}': {key} must be {expected}, got {getattr(stage, key)!r}.")


@dataclass(frozen=True)
class ScheduledStage:
    """A stage with its place on the axis of iterations: steps `start` to `end - 1`."""

    settings: Stage
    index: int
    start: int

    @property
    def name(self) -> str:
        """The name of the stage; parts of a `per_task` stage are numbered from 1."""
        return self.settings.name

    @property
    def end(self) -> int:
        """The first iteration after the stage."""
        return self.start + self.settings.iters


class StagePlan:
    """All stages of a training.

    Args:
        stages: Config dicts, see `Stage`.
        num_tasks: Number of tasks of the model; a `per_task` stage becomes so many stages.

    Raises:
        ConfigError: No stage, a bad stage, or two stages of one name.
    """

    def __init__(self, stages: Sequence[Mapping], num_tasks: int) -> None:
        if not stages:
            raise ConfigError("train_cfg.stages is empty; give at least one stage (name, iters, lr).")
        settings = [part for config in stages for part in _expand(Stage.from_config(config), num_tasks)]
        names = [stage.name for stage in settings]
        repeated = {name for name in names if names.count(name) > 1}
        if repeated:
            raise ConfigError(f"train_cfg.stages: the name(s) {', '.join(sorted(repeated))} are used more than once.")
        ends = list(accumulate(stage.iters for stage in settings))
        starts = [0, *ends[:-1]]
        self.stages = [
            ScheduledStage(stage, index, start)
            for index, (stage, start) in enumerate(zip(settings, starts, strict=True))
        ]
        self._starts = starts
        self.max_iters = ends[-1]

    def __len__(self) -> int:
        return len(self.stages)

    def __iter__(self):
        return iter(self.stages)

    def at(self, iteration: int) -> ScheduledStage:
        """The stage of an iteration in [0, max_iters)."""
        return self.stages[bisect.bisect_right(self._starts, iteration) - 1]

    def validates_after(self, iteration: int, interval: int) -> bool:
        """Whether a validation is due after this many iterations: at the interval, where a stage that asks for it ends,
        and at the end of all.

        Args:
            iteration: Iterations that are over, at least 1.
            interval: Iterations between validations; 0 for none but the others.
        """
        at_stage_end = any(stage.settings.validate and iteration == stage.end for stage in self)
        return at_stage_end or iteration == self.max_iters or (interval > 0 and iteration % interval == 0)

    def validations(self, interval: int) -> int:
        """The number of validations in all, see `validates_after`."""
        at_interval = range(interval, self.max_iters + 1, interval) if interval else ()
        return sum(self.validates_after(n, interval) for n in {stage.end for stage in self}.union(at_interval))


def _expand(stage: Stage, num_tasks: int) -> list[Stage]:
    if not stage.per_task:
        return [stage]
    lengths = stage.iters if isinstance(stage.iters, tuple) else (stage.iters,) * num_tasks
    _require(stage, "iters", len(lengths) == num_tasks, f"an integer or a list of {num_tasks}, one per task")
    width = len(str(num_tasks))
    return [
        replace(stage, name=f"{stage.name}_{k:0{width}d}", iters=length, tasks=k, per_task=False)
        for k, length in enumerate(lengths, start=1)
    ]
