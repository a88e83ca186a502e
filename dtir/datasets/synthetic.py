"""Synthetic pairs: clean photographs, degraded on the fly."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from dtir.core.errors import DatasetError
from dtir.core.ranges import NonNegative, NonNegativeInt, PositiveInt, Seed
from dtir.imaging.listing import list_images
from dtir.registry import DATASETS
from dtir.tasks import check_task

from .base import (
    META_KEYS,
    Pipeline,
    RestorationDataset,
    open_pack,
    refuse_beside_pipeline,
    require_folder,
    resolve_root,
)
from .degradations import TASK_DEGRADATIONS
from .transforms.degrade import Severity, StepOfSeverity, build_degradation

# Pixels around a training patch that a degradation may look at, where it does not declare another `margin`.
DEFAULT_MARGIN = 16
TYPICAL_SEVERITY = 0.5


@DATASETS.register_module()
class SyntheticDataset(RestorationDataset):
    """Pairs of clean pictures and their degraded versions.

    Training: a random patch with surroundings is cropped, turned, degraded, and its centre kept, so that the patch is
    a crop of a degraded picture. Evaluation: the whole picture (or its centre), degraded by (seed, task, index).

    Args:
        task: name of the kind of degradation.
        data_root: folder of the clean pictures; a relative path starts from the folder in the environment
            variable DTIR_DATA, or from `./data`; 'asset://photos' are the photographs that come with dtir.
        files: names within `data_root` to use, in this order; None uses all pictures of the folder.
        degradation: class name in the DEGRADATIONS registry, config or callable; None takes the task's own.
        severity: in [0, 1], or a pair (low, high) to draw from; None takes the degradation's own `severity`, or 0.5.
        patch: side of the training patch, in pixels; smaller pictures are continued by reflection.
        margin: surroundings of the training patch, in pixels; None takes the degradation's own `margin`, or 16.
        recolor: strength of the random recolouring of training patches (see `RandomRecolor`), for small sets of clean
            pictures; None leaves the colours.
        eval_crop: side of the centre crop for evaluation, in pixels; None keeps the whole picture.
        max_size: evaluation pictures with a longer side are shrunk to it before they are degraded.
        recursive: whether to look into subfolders.
        cache_mb: limit of the process's cache of decoded pictures, in MiB.
        pipeline: training transforms in place of the default ones.
        eval_pipeline: evaluation transforms in place of the default ones.
        seed: seed of the degradations of evaluation items.
        packed: pack of `data_root` to take the pictures from (docs/data_loading.md); a relative path starts where a
            relative `data_root` does.
        severity_steps: table of `StepOfSeverity`, with which each sample is restored at the step of its own severity;
            None restores all at the task's.

    Raises:
        DatasetError: the folder is missing or empty, `files` names a picture that is not there, or the pack is not
            that of these pictures, or there is `severity_steps` beside `pipeline`.
        TaskError: `task` has no degradation of its own and none is given.
    """

    def __init__(
        self,
        task: str,
        data_root: str | os.PathLike,
        files: Sequence[str] | None = None,
        degradation: str | dict | Callable | None = None,
        severity: Severity | None = None,
        patch: PositiveInt = 128,
        margin: NonNegativeInt | None = None,
        recolor: NonNegative | None = None,
        eval_crop: PositiveInt | None = None,
        max_size: PositiveInt | None = None,
        recursive: bool = False,
        cache_mb: NonNegative = 256,
        pipeline: Pipeline | None = None,
        eval_pipeline: Pipeline | None = None,
        seed: Seed = 0,
        packed: str | os.PathLike | None = None,
        severity_steps: Sequence[tuple[float, int]] | None = None,
    ):
        root = require_folder(resolve_root(data_root), task)
        paths = list_images(root, recursive) if files is None else [root / name for name in files]
        _check_files(root, paths)
        records = [_record(root, path) for path in paths]
        built = build_degradation(degradation or default_degradation(task))
        margin = getattr(built, "margin", DEFAULT_MARGIN) if margin is None else margin
        severity = getattr(built, "severity", TYPICAL_SEVERITY) if severity is None else severity
        load = {"type": "LoadClean", "cache_mb": cache_mb}
        degrade = [{"type": "Degrade", "degradation": built, "severity": severity}]
        refuse_beside_pipeline(task, pipeline, severity_steps=severity_steps)
        own = StepOfSeverity(severity_steps) if severity_steps else None
        degrade += [own] if own else []
        train = [load, *training_steps(degrade, patch, margin, recolor)]
        evaluate = [load, *evaluation_steps(degrade, max_size, eval_crop, margin)]
        super().__init__(
            task, records, pipeline or train, eval_pipeline or evaluate, seed, open_pack(packed, root, records)
        )
        self.own_steps = own.possible(severity) if own else ()


def default_degradation(task: str) -> str:
    """Returns the class name of the degradation of one of the ten tasks.

    Raises:
        TaskError: `task` is not one of them; the message lists them.
    """
    return TASK_DEGRADATIONS[check_task(task, tuple(TASK_DEGRADATIONS))]


def training_steps(degrade: list[dict], patch: int, margin: int, recolor: float | None = None) -> list[dict]:
    """Transforms from a clean picture to a training item; the arguments are those of `SyntheticDataset`."""
    colours = [] if recolor is None else [{"type": "RandomRecolor", "strength": recolor}]
    return [
        {"type": "RandomCropPair", "patch": patch, "margin": margin},
        {"type": "RandomFlipRotate"},
        *colours,
        *degrade,
        {"type": "CenterCropPair", "size": patch},
        {"type": "PackPair"},
    ]


def evaluation_steps(
    degrade: list[dict], max_size: PositiveInt | None = None, eval_crop: PositiveInt | None = None, margin: int = 0
) -> list[dict]:
    """Transforms from a clean picture to an evaluation item; the arguments are those of `SyntheticDataset`."""
    shrink = [{"type": "ShrinkPair", "max_size": max_size}] if max_size else []
    outer = [{"type": "CenterCropPair", "size": eval_crop + 2 * margin}] if eval_crop else []
    inner = [{"type": "CenterCropPair", "size": eval_crop}] if eval_crop else []
    return [*shrink, *outer, *degrade, *inner, {"type": "PackPair", "meta_keys": META_KEYS}]


def _record(root: Path, path: Path) -> dict:
    name = path.relative_to(root).with_suffix("").as_posix()
    return {"name": name, "lq_path": str(path), "gt_path": str(path)}


def _check_files(root: Path, paths: list[Path]) -> None:
    if not paths:
        raise DatasetError(f"no pictures in '{root}': put clean pictures there, or correct data_root in the config.")
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        there = ", ".join(path.name for path in list_images(root)[:10] if path.is_file()) or "no picture"
        raise DatasetError(f"files names {', '.join(missing)}, not in '{root}', which holds {there}.")
