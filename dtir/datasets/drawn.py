"""Drawn pictures, which a restorer of photographs meets in archives and has to know for what they are."""

from collections.abc import Callable
from typing import Literal

from dtir.core.ranges import PositiveInt, Seed
from dtir.registry import DATASETS

from .base import Pipeline, RestorationDataset
from .degradations import NoDamage
from .synthetic import evaluation_steps, training_steps
from .transforms.degrade import Severity, build_degradation


@DATASETS.register_module()
class DrawnDataset(RestorationDataset):
    """Pictures that are made as they are asked for, and degraded or left clean: pages and diagrams, or grounds.

    Args:
        task: name of the kind of degradation.
        length: number of pictures; those of evaluation are each always the same.
        degradation: class name in the DEGRADATIONS registry, config or callable; None leaves the pictures clean.
        severity: in [0, 1], or a pair (low, high) to draw from.
        patch: side of the training patch, in pixels.
        side: of the pictures, in pixels, at least 10.
        seed: seed of the pictures of evaluation.
        draw: class name in the TRANSFORMS registry of what draws them: "DrawPicture" or "DrawGround".
        pipeline: training transforms in place of the default ones, the drawing among them; what is given beside them is
            for evaluation alone.

    Raises:
        ConfigError: `side` is less, or the degradation or severity is none.
    """

    def __init__(
        self,
        task: str,
        length: PositiveInt = 100,
        degradation: str | dict | Callable | None = None,
        severity: Severity = 0.5,
        patch: PositiveInt = 128,
        side: PositiveInt = 400,
        seed: Seed = 0,
        draw: Literal["DrawPicture", "DrawGround"] = "DrawPicture",
        pipeline: Pipeline | None = None,
    ):
        built = NoDamage() if degradation is None else build_degradation(degradation)
        drawing = {"type": draw, "side": side}
        degrade = [{"type": "Degrade", "degradation": built, "severity": severity}]
        margin = getattr(built, "margin", 0)
        records = [{"name": f"drawn_{number}", "lq_path": "", "gt_path": ""} for number in range(length)]
        train = [drawing, *training_steps(degrade, patch, margin)]
        super().__init__(task, records, pipeline or train, [drawing, *evaluation_steps(degrade)], seed)
