"""Time-step matching at a stage boundary (docs/method.md, section 2, Algorithm 2)."""

import itertools
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from torch import Tensor

from dtir.core.atomic import atomic_write
from dtir.core.errors import DatasetError
from dtir.core.ranges import NonNegativeInt, PositiveInt
from dtir.core.stage_hook import StageHook
from dtir.datasets import MultiTaskDataset, SampleKey
from dtir.diffusion.matching import MatchingCurve, distinct_steps, match_timestep
from dtir.evaluation.reports.charts import plot_matching_curves
from dtir.registry import HOOKS

# Crops looked at per crop that is used.
MAX_DRAWS = 10


@HOOKS.register_module()
class TimestepMatchingHook(StageHook):
    """Finds every task's matched step with the pre-trained network before a stage starts.

    The steps go to the model's `matched_t`; the curves go to `matching/curves.json` and `matching/curves.png` in the
    work folder and into every checkpoint. Tasks are shared out among the processes; results do not depend on how many.

    Args:
        before: Name of the stage.
        num_images: Training pairs (crops) per task.
        batch_size: Crops per network call.
        method: "subtract", "predict_x0" or "diffuse_reverse".
        options: Options of the method.
        first: Smallest step that may be matched. The pre-training draws its steps from 1 on, so that the network has
            learned nothing about t = 0.
        distinct: Give every task a step of its own (`distinct_steps`) in place of each curve's argmax, so that t tells
            the tasks apart. Beyond the paper.
    """

    priority = "HIGH"

    def __init__(
        self,
        before: str = "finetune",
        num_images: PositiveInt = 16,
        batch_size: PositiveInt = 8,
        method: Literal["subtract", "predict_x0", "diffuse_reverse"] = "subtract",
        options: Mapping | None = None,
        distinct: bool = False,
        first: NonNegativeInt = 0,
    ) -> None:
        self.before = before
        self.num_images = num_images
        self.batch_size = batch_size
        self.method = method
        self.options = options or {}
        self.distinct = distinct
        self.first = first
        self.curves: list[MatchingCurve] = []

    def before_stage(self, runner, stage, fresh: bool) -> None:
        """Matches, when the named stage starts."""
        if stage.name != self.before or not fresh:
            return
        model = runner.model
        with runner.whole_model() as whole:
            whole.eval()
            mine = [
                self._match(runner, stage.index, task).to_dict()
                for task in range(get_rank(), len(model.tasks), get_world_size())
            ]
        curves = [MatchingCurve.from_dict(item) for part in all_gather_object(mine) for item in part]
        self.curves = sorted(curves, key=lambda curve: model.tasks.index(curve.task))
        peaks = {curve.task: curve.peak(self.first) for curve in self.curves}
        steps = distinct_steps(self.curves, self.first) if self.distinct else peaks
        model.set_matched_t(steps)
        if any(steps[curve.task] != curve.t_star for curve in self.curves):
            runner.logger.info(f"steps in use: {', '.join(f'{task} {t}' for task, t in steps.items())}")
        if get_rank() == 0:
            self._write(runner, steps)

    def _match(self, runner, stage: int, task: int) -> MatchingCurve:
        model = runner.model
        lq, gt = self._pairs(runner.train_dataloader.dataset, stage, task)
        device = next(model.parameters()).device
        curve = match_timestep(
            model.predict_eps,
            model.scheduler,
            lq.to(device),
            gt.to(device),
            task=model.tasks[task],
            method=self.method,
            batch_size=self.batch_size,
            callback=partial(self._tell, runner, f"matching {model.tasks[task]}"),
            **self.options,
        )
        runner.logger.info(
            f"matched {curve.task}: t* = {curve.t_star} ({curve.mean[0]:.2f} -> {max(curve.mean):.2f} dB)"
        )
        return curve

    @staticmethod
    def _tell(runner, what: str, done: int, total: int) -> None:
        runner.call_hook("on_estimate", what=what, done=done, total=total)

    def _pairs(self, dataset: MultiTaskDataset, stage: int, task: int) -> tuple[Tensor, Tensor]:
        draws = itertools.count()
        keys = (SampleKey(stage, draw, task, draw % dataset.sizes[task], False) for draw in draws)
        items = (dataset[key] for key in itertools.islice(keys, MAX_DRAWS * self.num_images))
        pairs = ((item["inputs"], item["data_samples"]["gt"]) for item in items)
        # A crop that the damage missed (no shadow falls on it) says nothing about the damage.
        damaged = list(itertools.islice((pair for pair in pairs if not torch.equal(*pair)), self.num_images))
        if not damaged:
            raise DatasetError(
                f"task '{dataset.tasks[task]}': LQ equals GT in all of {MAX_DRAWS * self.num_images} crops."
            )
        lq, gt = (torch.stack(pictures).float() / 255 for pictures in zip(*damaged, strict=True))
        return lq, gt

    def _write(self, runner, steps: dict[str, int]) -> None:
        folder = Path(runner.work_dir) / "matching"
        with atomic_write(folder / "curves.json", "w", encoding="utf-8") as file:
            json.dump([curve.to_dict() for curve in self.curves], file, indent=1)
        plot_matching_curves(folder / "curves.png", self.curves, steps)
        runner.logger.info(f"matching curves: {folder / 'curves.png'}")

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keeps the curves in the checkpoint."""
        checkpoint["matching"] = [curve.to_dict() for curve in self.curves]

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Takes the curves back."""
        self.curves = [MatchingCurve.from_dict(item) for item in checkpoint.get("matching", [])]
