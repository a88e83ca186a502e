"""Trains the estimator of the blind task and step beside the restorer, on the same pictures (docs/method.md, 6)."""

import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from dtir.core.errors import CheckpointError, ConfigError
from dtir.core.ranges import Positive, PositiveInt
from dtir.core.seeding import derive_seed
from dtir.core.stage_hook import StageHook
from dtir.evaluation.reports.confusion import write_confusion
from dtir.models.estimator import LEAST_CONFIDENCE, TaskEstimator
from dtir.registry import HOOKS
from dtir.tasks import CLEAN

KEY = "estimator"
# What else a checkpoint holds of an estimator, where it is not the default.
OPTIONS = ("least_confidence", "least_of_two", "steps", "trials", "glance")
DEFAULTS = {"least_confidence": LEAST_CONFIDENCE, "least_of_two": None}


@HOOKS.register_module()
class BlindTaskHook(StageHook):
    """Lets a checkpoint tell the task, and so t*, from the picture: `task="auto"`; and the step itself: `t="auto"`.

    A `TaskEstimator` of its own takes one Adam step per iteration on the restoring samples; the restorer's training is
    not touched. Where samples have time steps of their own it learns these too, and a sample of step 0, about which
    there is nothing to do, is of the class "clean" and not of its task (docs/method.md, section 6.1). Every validation
    writes `report/confusion.{csv,png}`. The checkpoint holds the estimator under `estimator`, with its optimiser, so
    that a resumed run ends with the same numbers.

    Args:
        lr: Learning rate.
        width: Channels of the estimator's first layer.
    """

    priority = "LOW"

    def __init__(self, lr: Positive = 1e-3, width: PositiveInt = 24) -> None:
        self.lr, self.width = lr, width
        self.estimator: TaskEstimator | None = None
        self._loaded: dict | None = None

    def before_train(self, runner) -> None:
        """Makes the estimator, the same in all processes.

        Raises:
            CheckpointError: The run is resumed from a checkpoint whose estimator has other parts.
        """
        if self.estimator is not None:
            return
        device = next(runner.model.parameters()).device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(runner.seed, 0, 0))
            self.estimator = self._made(runner.model.tasks, runner.train_dataloader.dataset).to(device)
        self.places = step_places(self.estimator, runner.model.tasks) if self.estimator.steps else None
        self.optimizer = torch.optim.Adam(self.estimator.parameters(), lr=self.lr)
        if self._loaded is not None and self._fits(self._loaded["state_dict"], runner):
            self.estimator.load_state_dict(self._loaded["state_dict"])
            if runner._resume:
                self.optimizer.load_state_dict(self._loaded["optimizer"])

    def _fits(self, state: Mapping[str, Tensor], runner: Runner) -> bool:
        shapes = ({name: value.shape for name, value in each.items()} for each in (state, self.estimator.state_dict()))
        if operator.eq(*shapes):
            return True
        problem = (
            "the checkpoint's estimator of the task (BlindTaskHook) is of another width, or tells other tasks or steps "
            "apart than those of this training's data"
        )
        if runner._resume:
            raise CheckpointError(
                f"{problem}: resume with the config that it was begun with, or give the checkpoint as load_from, with "
                "which the estimator begins anew."
            )
        runner.logger.warning(f"{problem}; it begins anew.")
        return False

    def _made(self, tasks: Sequence[str], dataset: Dataset) -> TaskEstimator:
        steps = getattr(dataset, "own_steps", None) or {}
        clean = any(0 in own for own in steps.values()) and CLEAN not in tasks
        classes = (*tasks, CLEAN) if clean else tuple(tasks)
        return TaskEstimator(len(classes), self.width, classes, steps=steps)

    def before_step(self, runner, step) -> None:
        """Starts a sum of gradients."""
        self.count = 0
        for p in self.estimator.parameters():
            p.grad = torch.zeros_like(p)

    def after_loss(self, runner, step, losses: dict[str, Tensor]) -> None:
        """Adds the gradients of a micro-batch's restoring samples: a sum, so that it does not matter how they are split
        over micro-batches and processes."""
        n = step.samples["num_generative"]
        lq, task = step.samples["lq"][n:], step.samples["task"][n:]
        self.count += len(task)
        if len(task) and not self.estimator.steps:
            F.cross_entropy(self.estimator(lq), task, reduction="sum").backward()
        elif len(task):
            own_and_task_loss(self.estimator, lq, task, step.samples["step"][n:], self.places).backward()

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """One optimiser step on the mean over the restoring samples, where there are any."""
        if runner.train_loop.stage.settings.generative_share == 1:
            return
        count = self._reduce()
        torch._foreach_div_([p.grad for p in self.estimator.parameters()], count.clamp(min=1))
        self.optimizer.step()

    def _reduce(self) -> Tensor:
        total = torch.tensor(float(self.count), device=next(self.estimator.parameters()).device)
        if get_world_size() > 1:
            for tensor in (total, *(p.grad for p in self.estimator.parameters())):
                dist.all_reduce(tensor)
        return total

    def before_val_epoch(self, runner) -> None:
        """Starts a new matrix."""
        self.classes = (self.estimator and self.estimator.classes) or runner.model.tasks
        self.counts = torch.zeros(len(self.classes), len(self.classes), dtype=torch.long)

    @torch.no_grad()
    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Judges the pictures."""
        if self.estimator is None:
            return
        device = next(self.estimator.parameters()).device
        self.estimator.eval()
        for sample in outputs:
            logits = self.estimator(sample["lq"][None].to(device) / 255)
            self.counts[int(sample["task"]), int(logits.argmax())] += 1
        self.estimator.train()

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Writes the matrix."""
        if self.estimator is None:
            return
        if get_world_size() > 1:
            counts = self.counts.to(next(self.estimator.parameters()).device)
            dist.all_reduce(counts)
            self.counts = counts.cpu()
        if get_rank() == 0:
            write_confusion(Path(runner.work_dir) / "report", self.counts.tolist(), self.classes)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keeps estimator and optimiser."""
        if self.estimator is not None:
            state = {"state_dict": self.estimator.state_dict(), "optimizer": self.optimizer.state_dict()}
            checkpoint[KEY] = {**state, **facts_of(self.estimator)}

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Takes them back when training begins."""
        self._loaded = checkpoint.get(KEY)


@HOOKS.register_module()
class ClassifierCheckpointHook(Hook):
    """Has the checkpoints of a `TaskClassifier` hold its estimator where those of a restorer hold theirs."""

    priority = "LOW"

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Adds the estimator's weights, the average where one is kept.

        Raises:
            ConfigError: The model trains something else.
        """
        if not isinstance(runner.model.estimator, TaskEstimator):
            raise ConfigError(
                f"ClassifierCheckpointHook is for a TaskClassifier, and this is a {type(runner.model).__name__}: leave "
                "it out of custom_hooks."
            )
        part = f"{KEY}."
        state = {key[len(part) :]: value for key, value in checkpoint["state_dict"].items() if key.startswith(part)}
        checkpoint[KEY] = {"state_dict": state, "width": runner.model.width}


@HOOKS.register_module()
class AutoTaskHook(Hook):
    """Has a test estimate every picture's task with the checkpoint's estimator: `tools/test.py --task auto`."""

    estimator: TaskEstimator | None = None

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Takes the estimator.

        Raises:
            CheckpointError: The checkpoint has none.
        """
        self.estimator = estimator_of(checkpoint, runner.model.tasks)
        if self.estimator is None:
            raise CheckpointError(
                "--task auto needs a checkpoint that was trained with dict(type='BlindTaskHook') in custom_hooks."
            )

    def before_test(self, runner) -> None:
        """Gives it to the model, whose weights are loaded now."""
        runner.model.estimator = self.estimator.to(next(runner.model.parameters()).device).eval()
        runner.model.auto_task = True


def estimator_of(checkpoint: dict, tasks: Sequence[str]) -> TaskEstimator | None:
    """The estimator of the blind time step in a checkpoint of these tasks, if one was trained."""
    if KEY not in checkpoint:
        return None
    facts = checkpoint[KEY]
    classes = facts.get("classes", tasks)
    options = {name: facts[name] for name in OPTIONS if name in facts}
    estimator = TaskEstimator(len(classes), facts["width"], classes, **options)
    estimator.load_state_dict(facts["state_dict"])
    return estimator


def facts_of(estimator: TaskEstimator) -> dict[str, object]:
    """What a checkpoint has to hold of an estimator beside its weights; the classes are those of the restorer where
    it estimates no steps."""
    settings = estimator.settings()
    names = ("width", *OPTIONS, *(("classes",) if estimator.steps else ()))
    return {name: settings[name] for name in names if name in settings and settings[name] != DEFAULTS.get(name)}


class StepPlaces(NamedTuple):
    """Where the steps of tasks are, for lookups on a device.

    Attributes:
        table: Place of each step by task, (tasks, largest step + 1).
        column: Column of the task's places among those of the estimator, (tasks,); -1 where it has none.
    """

    table: Tensor
    column: Tensor


def step_places(estimator: TaskEstimator, tasks: Sequence[str]) -> StepPlaces:
    """The places of an estimator with `steps`, for the tasks of a restorer, on the estimator's device."""
    known, device = list(estimator.steps), estimator.head.weight.device
    last = max(step for own in estimator.steps.values() for step in own)
    rows = [[estimator.place(t, s) if t in known else 0.0 for s in range(last + 1)] for t in tasks]
    columns = [known.index(t) if t in known else -1 for t in tasks]
    return StepPlaces(torch.tensor(rows, device=device), torch.tensor(columns, device=device))


def own_and_task_loss(estimator: TaskEstimator, lq: Tensor, task: Tensor, step: Tensor, known: StepPlaces) -> Tensor:
    """The sum over samples of the cross-entropies of their classes, and of the squared errors of the places of those
    with steps of their own.

    Args:
        estimator: With `steps`.
        lq: Degraded pictures (B, 3, H, W) in [0, 1].
        task: Indices (B,) of the restorer's tasks.
        step: Steps of their own (B,), negative where they have their task's.
        known: Its places, for those tasks.
    """
    logits, places = estimator.both(lq)
    label = torch.where(step == 0, estimator.classes.index(CLEAN), task) if CLEAN in estimator.classes else task
    wanted = known.table[task, step.clamp(0, known.table.shape[1] - 1)]
    column = known.column[task]
    found = places.gather(1, column[:, None].clamp(min=0))[:, 0]
    errors = torch.where((step >= 0) & (column >= 0), found - wanted, 0.0).square()
    return F.cross_entropy(logits, label, reduction="sum") + errors.sum()
