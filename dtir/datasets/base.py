"""What the datasets of one task share: two pipelines, and randomness that is an argument."""

import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from mmcv.transforms import Compose
from torch.utils.data import Dataset

from dtir.core.assets import ASSETS
from dtir.core.errors import DatasetError, TaskError
from dtir.registry import TRANSFORMS
from dtir.tasks import SET_MARK, row_name

from .packed import PackedPictures

META_KEYS = ("task_name", "lq_path", "gt_path", "name")
# What training alone reads, and some pictures lack: the items of a batch of evaluation must have the same keys.
TRAINING_KEYS = ("step", "damages")

Pipeline = Sequence[dict | Callable]

DEFAULT_DATA = "data"
_ASSET_SCHEME = "asset://"


class RestorationDataset(Dataset):
    """Pairs of one task. `training_item` is random by the generator it is given, `dataset[index]` is for evaluation.

    Args:
        task: name of the kind of degradation, any non-empty string.
        records: one dict per pair with `name`, `lq_path` and `gt_path`.
        pipeline: transforms that make a training item of a record.
        eval_pipeline: transforms that make an evaluation item of a record.
        seed: seed of whatever is random in evaluation items.
        packed: where the loading transforms take the pictures from; None reads their files.
        test_set: name of the set where it is one that the model generalises to; it then has a row of its own in tables.

    Attributes:
        task_name: what tables call these pictures, see `dtir.tasks.row_name`.
        own_steps: time steps of their own that training items may have; none where all are at their task's.
        folder: where all pairs are; None where they are made.

    Raises:
        TaskError: `task` is no non-empty string, or has an @ in it.
    """

    own_steps: tuple[int, ...] = ()

    def __init__(
        self,
        task: str,
        records: list[dict],
        pipeline: Pipeline,
        eval_pipeline: Pipeline,
        seed: int = 0,
        packed: PackedPictures | None = None,
        test_set: str = "",
    ):
        if not isinstance(task, str) or not task or SET_MARK in task:
            raise TaskError(
                f"task={task!r}: expected the name of a kind of degradation, 'hazy' for example, without {SET_MARK}."
            )
        self.folder: Path | None = None
        self.task = task
        self.task_name = row_name(task, test_set)
        self.records = records
        self.seed = seed
        self.packed = packed
        self.pipeline = _compose(pipeline)
        self.eval_pipeline = _compose(eval_pipeline)

    def __len__(self) -> int:
        return len(self.records)

    def training_item(
        self, index: int, rng: np.random.Generator, generative: bool = False, patch: int | None = None
    ) -> dict:
        """Returns a training item of pair `index`; all that is random in it comes from `rng`.

        Args:
            index: number of the pair.
            rng: the only source of randomness.
            generative: whether the LQ is the GT.
            patch: side of the patch in pixels, in place of the dataset's.

        Returns:
            `dict(inputs=LQ, data_samples=dict(gt=GT, generative=...))`, LQ and GT uint8 tensors (3, patch, patch). LQ
            is GT where `generative`.
        """
        start = self._start(index, rng, generative)
        return self.pipeline(start if patch is None else {**start, "patch": patch})

    def __getitem__(self, index: int) -> dict:
        """Returns the evaluation item of pair `index`, the same one each time.

        Returns:
            `dict(inputs=LQ, data_samples=dict(gt=GT, generative=False, task_name, lq_path, gt_path, name))`, LQ and
            GT uint8 tensors (3, H, W).
        """
        item = self.eval_pipeline(self._start(index, self._eval_rng(index), False))
        for key in TRAINING_KEYS:
            item["data_samples"].pop(key, None)
        return item

    def _start(self, index: int, rng: np.random.Generator, generative: bool) -> dict:
        sample = {"task_name": self.task_name, "rng": rng, "generative": generative, "packed": self.packed}
        return {**self.records[index], **sample}

    def _eval_rng(self, index: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, zlib.crc32(self.task.encode()), index))


def _compose(pipeline: Pipeline) -> Compose:
    return Compose([TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline])


def resolve_root(data_root: str | os.PathLike) -> Path:
    """Returns the folder that `data_root` names.

    'asset://photos' is the folder `photos` of the pictures that come with dtir; a relative path starts from the
    folder in the environment variable DTIR_DATA, or from `./data` where that is not set.
    """
    if str(data_root).startswith(_ASSET_SCHEME):
        return ASSETS / str(data_root)[len(_ASSET_SCHEME) :]
    return Path(os.environ.get("DTIR_DATA") or DEFAULT_DATA, data_root)


def require_folder(folder: Path, task: str) -> Path:
    """Returns `folder` if it exists.

    Raises:
        DatasetError: it does not.
    """
    if folder.is_dir():
        return folder
    base = os.environ.get("DTIR_DATA")
    setting = f"now '{base}'" if base else f"not set, so they start from './{DEFAULT_DATA}'"
    raise DatasetError(
        f"task '{task}': no folder '{folder}'. Correct data_root in the config, or set the environment variable "
        f"DTIR_DATA to the folder that relative data roots start from ({setting})."
    )


def refuse_beside_pipeline(task: str, pipeline: "Pipeline | None", **options: object) -> None:
    """Raises where options of the default training pipeline are given beside another one, which does not know them.

    Raises:
        DatasetError: There is a pipeline, and one of the options is not None.
    """
    given = [name for name, value in options.items() if value is not None]
    if pipeline is not None and given:
        raise DatasetError(
            f"task '{task}': {' and '.join(given)} shape the default pipeline, and pipeline= replaces it: put the "
            "transforms (FadePair, StepOfSeverity) into that, or leave it out."
        )


def open_pack(packed: str | os.PathLike | None, root: Path, records: list[dict]) -> PackedPictures | None:
    """Opens the pack of the pictures in `records`, whose names in it are their paths from `root`.

    Args:
        packed: the pack; a relative path starts where a relative data root does. None stands for no pack.
        root: folder that was packed.
        records: pairs as in `RestorationDataset`.

    Raises:
        DatasetError: there is no such pack, or it is damaged, lacks a picture, or holds another version of one.
    """
    if packed is None:
        return None
    pictures = PackedPictures(resolve_root(packed), root)
    pictures.check(dict.fromkeys(record[key] for record in records for key in ("lq_path", "gt_path")))
    return pictures
