"""A training in small: a few iterations of every stage, and from their times what the whole would take."""

import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook
from torch.utils.data import DataLoader

from dtir.engine.loops.recorded_test_loop import loader_of
from dtir.engine.stages import StagePlan
from dtir.registry import HOOKS

ITERS = 3
ITERS_PER_TASK = 2
# No multiple of any network's strides.
ODD_SIZE = (61, 75)
# Samples of what is estimated before a stage: the argument of each type, and its value here.
FEW = {"TimestepMatchingHook": ("num_images", 2), "ParameterImportance": ("num_samples", 4)}
DEFAULT_SAMPLES = {"TimestepMatchingHook": 16, "ParameterImportance": 64}


@dataclass(frozen=True)
class StageCost:
    """What a stage of the whole training costs.

    Attributes:
        name: Name of the stage.
        iters: Its iterations.
        seconds_per_iter: Seconds of one iteration, measured.
        preparation: Seconds before its first iteration: matching, importance, a validation of the stage before.
    """

    name: str
    iters: int
    seconds_per_iter: float
    preparation: float

    @property
    def seconds(self) -> float:
        """Seconds of the whole stage."""
        return self.iters * self.seconds_per_iter + self.preparation


def smoke_config(cfg: Config) -> Config:
    """A copy of a training's config with a few iterations of every stage, few matching crops, and no data workers."""
    small = deepcopy(cfg)
    small.train_cfg.stages = [_short(stage) for stage in cfg.train_cfg.stages]
    small.train_cfg.val_interval = 0
    for loader in (small.train_dataloader, small.get("val_dataloader") or {}):
        loader["num_workers"] = 0
        for key in ("prefetch_factor", "persistent_workers"):
            loader.pop(key, None)
    for part in [*small.get("custom_hooks", []), *small.train_cfg.get("regularizers", [])]:
        key, value = FEW.get(_bare(part["type"]), (None, None))
        if key is not None:
            part[key] = min(value, part.get(key, value))
    # Nobody goes on with it: a signal ends it, and what is said of the whole is never told from a part.
    small.default_hooks = {**small.get("default_hooks", {}), "logger": {"interval": 1}, "preemption": None}
    small.custom_hooks = [*small.get("custom_hooks", []), {"type": "SmokeHook", "factor": _factor(cfg)}]
    return small


def _short(stage: dict) -> dict:
    parts = stage.get("per_task", False)
    iters = stage["iters"] if isinstance(stage["iters"], int) else min(stage["iters"])
    short = min(iters, ITERS_PER_TASK if parts else ITERS)
    return {**stage, "iters": short, "warmup_iters": min(stage.get("warmup_iters", 0), short - 1), "validate": False}


def _bare(kind: object) -> str:
    return str(kind).rpartition(".")[2]


def _factor(cfg: Config) -> float:
    """How many times the samples of the estimates before a stage are those of the smoke run."""
    parts = [*cfg.get("custom_hooks", []), *cfg.train_cfg.get("regularizers", [])]
    ratios = [1.0]
    for part in parts:
        kind = _bare(part["type"])
        if kind in FEW:
            key, value = FEW[kind]
            whole = part.get(key, DEFAULT_SAMPLES[kind])
            ratios.append(whole / min(value, whole))
    return max(ratios)


@HOOKS.register_module()
class SmokeHook(Hook):
    """Validates on one odd-sized picture of each set, and takes the times.

    Args:
        factor: What the preparation of a stage takes in the whole training, in units of what it takes here.
    """

    priority = "VERY_HIGH"

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.times: dict[str, list[float]] = {}
        self.preparation: dict[str, float] = {}
        self.pictures = 0
        self._since = 0.0

    def before_train(self, runner) -> None:
        """Takes the first picture of each set for the validation."""
        self._since = time.perf_counter()
        if runner.val_loop is not None:
            dataset = runner.val_loop.dataloader.dataset
            self.pictures = len(dataset)
            starts = [sum(dataset.sizes[:k]) for k in range(len(dataset.sizes))]
            runner.val_loop.dataloader = _odd(loader_of(runner.val_loop.dataloader, starts))

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Begins an iteration; before the first of a stage lies its preparation."""
        now = time.perf_counter()
        self.preparation.setdefault(runner.train_loop.stage.name, now - self._since)
        self._start = now

    def after_step(self, runner, stage) -> None:
        """Ends an iteration."""
        self._since = time.perf_counter()
        self.times.setdefault(stage.name, []).append(self._since - self._start)

    def costs(self, plan: StagePlan) -> list[StageCost]:
        """Costs of the stages of the whole training, whose names are those of the smoke run's."""
        return [
            StageCost(
                stage.name,
                stage.settings.iters,
                # The first iterations build what later ones reuse.
                min(self.times[stage.name]),
                self.factor * self.preparation[stage.name],
            )
            for stage in plan
        ]


def _odd(loader: DataLoader) -> DataLoader:
    collate = loader.collate_fn
    return DataLoader(
        loader.dataset,
        batch_size=loader.batch_size,
        sampler=loader.sampler,
        collate_fn=lambda items: collate([_cropped(item) for item in items]),
    )


def _cropped(item: dict) -> dict:
    height, width = ODD_SIZE
    samples = {**item["data_samples"], "gt": item["data_samples"]["gt"][:, :height, :width]}
    return {**item, "inputs": item["inputs"][:, :height, :width], "data_samples": samples}


def plan_text(costs: Sequence[StageCost], work_dir: Path, kept: int, validations: int = 0, pictures: int = 0) -> str:
    """What the whole training would do and take, as text.

    Args:
        costs: Costs of the stages.
        work_dir: Folder of the smoke run, whose checkpoints are measured.
        kept: Checkpoints that the whole training keeps, the best one included.
        validations: How many validations it has.
        pictures: Of how many pictures each.
    """
    width = max(len("stage"), *(len(cost.name) for cost in costs))
    lines = [f"{'stage':{width}}  {'iterations':>10}  {'s/iteration':>11}  {'time':>12}"]
    lines += [
        f"{cost.name:{width}}  {cost.iters:>10,}  {cost.seconds_per_iter:>11.3f}  {_duration(cost.seconds):>12}"
        for cost in costs
    ]
    iterations, seconds = sum(cost.iters for cost in costs), sum(cost.seconds for cost in costs)
    size = max((path.stat().st_size for path in work_dir.glob("iter_*.pth")), default=0)
    lines = [
        "In full, at the speed measured here:",
        *lines,
        f"{'all':{width}}  {iterations:>10,}  {'':>11}  {_duration(seconds):>12}",
        f"Checkpoints: {kept} x {size / 2**20:.1f} MiB, {kept * size / 2**30:.3g} GiB in all.",
    ]
    if validations:
        lines.append(f"Validations: {validations}, of {pictures:,} pictures each; their time is not counted.")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
