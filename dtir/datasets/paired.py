"""Real pairs: a folder of degraded pictures and one of clean pictures with the same names."""

import os
from collections.abc import Iterable
from pathlib import Path

from dtir.registry import DATASETS
from dtir.utils.errors import DatasetError
from dtir.utils.image_io import list_images

from .base import META_KEYS, Pipeline, RestorationDataset, open_pack, require_folder, resolve_root

_NAMED_AT_MOST = 5


@DATASETS.register_module()
class PairedDataset(RestorationDataset):
    """Pairs `<data_root>/<lq_dir>/<name>.*` and `<data_root>/<gt_dir>/<name>.*`; the extensions may differ.

    Args:
        task: name of the kind of degradation, any non-empty string.
        data_root: folder of the pairs; a relative path starts from the folder in the environment variable
            DTIR_DATA, or from `./data`.
        lq_dir: folder of the degraded pictures within `data_root`.
        gt_dir: folder of the clean pictures within `data_root`.
        patch: side of the training patch, in pixels; smaller pictures are continued by reflection.
        recursive: whether to look into subfolders, whose names are then part of the pair's name.
        cache_mb: limit of the process's cache of decoded pictures, in MiB.
        pipeline: training transforms in place of LoadPair, RandomCropPair, RandomFlipRotate, PackPair.
        eval_pipeline: evaluation transforms in place of LoadPair, PackPair.
        seed: seed of whatever is random in evaluation items.
        packed: pack of `data_root` to take the pictures from (docs/data_loading.md); a relative path starts where a
            relative `data_root` does.

    Raises:
        DatasetError: a folder is missing or empty, a picture has no partner, or two have one name, or the pack is not
            that of these pictures. Different sizes in a pair are an error when the pair is loaded.
        TaskError: `task` is no non-empty string.
    """

    def __init__(
        self,
        task: str,
        data_root: str | os.PathLike,
        lq_dir: str = "LQ",
        gt_dir: str = "GT",
        patch: int = 128,
        recursive: bool = False,
        cache_mb: float = 256,
        pipeline: Pipeline | None = None,
        eval_pipeline: Pipeline | None = None,
        seed: int = 0,
        packed: str | os.PathLike | None = None,
    ):
        root = require_folder(resolve_root(data_root), task)
        lq = _by_name(require_folder(root / lq_dir, task), recursive)
        gt = _by_name(require_folder(root / gt_dir, task), recursive)
        _check_partners(lq, gt, root / lq_dir, root / gt_dir)
        records = [{"name": name, "lq_path": str(lq[name]), "gt_path": str(path)} for name, path in gt.items()]
        load = {"type": "LoadPair", "cache_mb": cache_mb}
        crop = {"type": "RandomCropPair", "patch": patch}
        train = [load, crop, {"type": "RandomFlipRotate"}, {"type": "PackPair"}]
        evaluate = [load, {"type": "PackPair", "meta_keys": META_KEYS}]
        super().__init__(
            task, records, pipeline or train, eval_pipeline or evaluate, seed, open_pack(packed, root, records)
        )


def _by_name(folder: Path, recursive: bool) -> dict[str, Path]:
    images = list_images(folder, recursive)
    if not images:
        raise DatasetError(f"no pictures in '{folder}': put the pictures there, or correct data_root in the config.")
    named: dict[str, Path] = {}
    for path in images:
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in named:
            raise DatasetError(
                f"'{named[name]}' and '{path}' have one name, '{name}', so their partner is ambiguous: keep one."
            )
        named[name] = path
    return named


def _check_partners(lq: dict[str, Path], gt: dict[str, Path], lq_dir: Path, gt_dir: Path) -> None:
    alone = [f"'{lq[name]}' has no partner in '{gt_dir}'" for name in lq if name not in gt]
    alone += [f"'{gt[name]}' has no partner in '{lq_dir}'" for name in gt if name not in lq]
    if alone:
        raise DatasetError(
            f"{len(alone)} pictures have no partner of the same name: {_some(alone)}. Add the partners or remove "
            "these files."
        )


def _some(items: Iterable[str]) -> str:
    items = list(items)
    rest = len(items) - _NAMED_AT_MOST
    return "; ".join(items[:_NAMED_AT_MOST]) + (f"; and {rest} more" if rest > 0 else "")
