"""Real pairs: a folder of degraded pictures and one of clean pictures whose names tell which belong together."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from dtir.core.errors import DatasetError
from dtir.core.ranges import NonNegative, PositiveInt, Seed
from dtir.imaging.listing import is_broken_link, list_images, name_in
from dtir.registry import DATASETS
from dtir.tasks import folder_names

from .base import (
    META_KEYS,
    Pipeline,
    RestorationDataset,
    open_pack,
    refuse_beside_pipeline,
    require_folder,
    resolve_root,
)
from .pairing import Matched, describe_alone, match_pairs, some
from .transforms.degrade import Severity, StepOfSeverity


@DATASETS.register_module()
class PairedDataset(RestorationDataset):
    """Pairs `<data_root>/<lq_dir>/<name>.*` and `<data_root>/<gt_dir>/<name>.*`; the extensions may differ.

    Data sets whose names differ within a pair (`rain-001`, `norain-001`) are read with the `pairing` rule of that name.

    Args:
        task: name of the kind of degradation, any non-empty string.
        data_root: folder of the pairs; a relative path starts from the folder in the environment variable
            DTIR_DATA, or from `./data`. Where it is called `inpainting` and is not there, `uncompleted` beside it is
            taken, DA-CLIP's name of that task.
        lq_dir: folder of the degraded pictures within `data_root`.
        gt_dir: folder of the clean pictures within `data_root`.
        patch: side of the training patch, in pixels; smaller pictures are continued by reflection.
        recursive: whether to look into subfolders, whose names are then part of the pair's name.
        cache_mb: limit of the process's cache of decoded pictures, in MiB.
        pipeline: training transforms in place of LoadPair, RandomCropPair, RandomFlipRotate, PackPair.
        eval_pipeline: evaluation transforms in place of LoadPair, PackPair.
        seed: seed of whatever is random in evaluation items.
        pairing: key of `dtir.datasets.pairing.RULES`; "same" is equal names.
        packed: pack of `data_root` to take the pictures from (docs/data_loading.md); a relative path starts where a
            relative `data_root` does.
        held_every: with n, every n-th pair in the order of names (the n-th, the 2n-th, ...) is held out from training:
            it is left out here, or alone kept where `held` is true; 0 holds out none.
        held: whether these are the held-out pairs, for testing.
        test_set: name of the set, "REVIDE" for example, where it is one that the model is tested but not trained on:
            it then has a row of its own, "hazy@REVIDE", in tables, and is left out of averages.
        steps: JSON file with the time step of each pair by name, as `tools/analysis/calibrate_steps.py` writes it; a
            relative path starts where a relative `data_root` does. Pairs that it does not name are restored at the
            task's step, as all are by default.
        severity: in [0, 1], or a pair (low, high) to draw from, of the damage in training, see `FadePair`: 0.5 is as it
            was recorded, 0 none; None leaves it as it was recorded.
        severity_steps: table of `StepOfSeverity`, with which each sample is restored at the step of its severity.

    Raises:
        DatasetError: a folder is missing or empty, a picture has no partner or is a link to a file that is gone, two
            have one name, the pairing rule is unknown, the pack is not that of these pictures, or there is `severity`
            beside `steps` or `pipeline`, or `severity_steps` without `severity` or beside `pipeline`. Different sizes
            in a pair are an error when the pair is loaded.
        TaskError: `task` is no non-empty string, or has an @ in it.
    """

    def __init__(
        self,
        task: str,
        data_root: str | os.PathLike,
        lq_dir: str = "LQ",
        gt_dir: str = "GT",
        patch: PositiveInt = 128,
        recursive: bool = False,
        cache_mb: NonNegative = 256,
        pipeline: Pipeline | None = None,
        eval_pipeline: Pipeline | None = None,
        seed: Seed = 0,
        pairing: str = "same",
        packed: str | os.PathLike | None = None,
        test_set: str = "",
        held_every: int = 0,
        held: bool = False,
        steps: str | os.PathLike | None = None,
        severity: Severity | None = None,
        severity_steps: Sequence[tuple[float, int]] | None = None,
    ):
        if severity_steps and severity is None:
            raise DatasetError(
                f"task '{task}': severity_steps are the steps of severities that are drawn: give severity=(0.0, 0.5) "
                "or another range with them."
            )
        if steps is not None and severity is not None:
            raise DatasetError(
                f"task '{task}': steps are those of pairs as they were recorded, and severity fades them: leave out "
                "steps, and give severity_steps where samples are to have steps of their own."
            )
        refuse_beside_pipeline(task, pipeline, severity=severity, severity_steps=severity_steps)
        root = require_folder(_by_either_name(resolve_root(data_root)), task)
        lq = _by_name(require_folder(root / lq_dir, task), recursive)
        gt = _by_name(require_folder(root / gt_dir, task), recursive)
        matched = match_pairs(lq, gt, pairing)
        _check_partners(matched, root / lq_dir, root / gt_dir, pairing)
        own = {name: {"step": step} for name, step in read_steps(steps, task).items()}
        records = [
            {"name": name, "lq_path": str(lq_path), "gt_path": str(gt_path), **own.get(name, {})}
            for number, (name, lq_path, gt_path) in enumerate(matched.pairs, start=1)
            if not held_every or (number % held_every == 0) == held
        ]
        load = {"type": "LoadPair", "cache_mb": cache_mb}
        crop = {"type": "RandomCropPair", "patch": patch}
        fade = [] if severity is None else [{"type": "FadePair", "severity": severity}]
        table = StepOfSeverity(severity_steps) if severity_steps else None
        fade += [table] if table else []
        train = [load, crop, {"type": "RandomFlipRotate"}, *fade, {"type": "PackPair"}]
        evaluate = [load, {"type": "PackPair", "meta_keys": META_KEYS}]
        pack = open_pack(packed, root, records)
        super().__init__(task, records, pipeline or train, eval_pipeline or evaluate, seed, pack, test_set)
        given = sorted({record["step"] for record in records if "step" in record})
        self.own_steps = table.possible(severity) if table else tuple(given)
        self.folder = root


def read_steps(path: str | os.PathLike | None, task: str) -> dict[str, int]:
    """Time steps by the names of pairs; none without a file.

    Raises:
        DatasetError: the file is missing, or does not hold an object of whole numbers from 0 on.
    """
    if path is None:
        return {}
    path = resolve_root(path)
    try:
        steps = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"task '{task}': steps '{path}' cannot be read ({error}).") from error
    if not isinstance(steps, dict) or not all(type(t) is int and t >= 0 for t in steps.values()):
        raise DatasetError(f"task '{task}': steps '{path}' must hold an object of names and whole numbers from 0 on.")
    return steps


def _by_either_name(root: Path) -> Path:
    if root.is_dir():
        return root
    others = (root.with_name(name) for name in folder_names(root.name))
    return next((path for path in others if path.is_dir()), root)


def _by_name(folder: Path, recursive: bool) -> dict[str, Path]:
    images = list_images(folder, recursive)
    if not images:
        hint = " Those in its sub-folders are read with recursive=True." if _has_deeper(folder, recursive) else ""
        raise DatasetError(
            f"no pictures in '{folder}': put the pictures there, or correct data_root in the config.{hint}"
        )
    broken = [f"'{path}' -> '{os.readlink(path)}'" for path in images if is_broken_link(path)]
    if broken:
        raise DatasetError(
            f"{len(broken)} pictures are links to files that are not there: {some(broken)}. Bring the files back, or "
            "prepare the data set again."
        )
    named: dict[str, Path] = {}
    for path in images:
        name = name_in(folder, path)
        if name in named:
            raise DatasetError(
                f"'{named[name]}' and '{path}' have one name, '{name}', so their partner is ambiguous: keep one."
            )
        named[name] = path
    return named


def _has_deeper(folder: Path, recursive: bool) -> bool:
    return not recursive and bool(list_images(folder, recursive=True))


def _check_partners(matched: Matched[Path], lq_dir: Path, gt_dir: Path, pairing: str) -> None:
    if matched.lq_alone or matched.gt_alone:
        alone = describe_alone(matched, str(lq_dir), str(gt_dir), pairing)
        raise DatasetError(f"{alone} Add the partners or remove these files.")
