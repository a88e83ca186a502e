"""Several datasets, one per task, behind one index."""

from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

from dtir.registry import DATASETS
from dtir.utils.errors import DatasetError

from .sampler import SampleKey


@DATASETS.register_module()
class MultiTaskDataset(Dataset):
    """The tasks of a run.

    `dataset[SampleKey(...)]` is a training item, random by (seed, stage, draw) alone: neither worker, process, nor
    what was loaded before matters. `dataset[int]` is an evaluation item of the datasets one after another.

    Args:
        datasets: one dataset or config per task; each has `task`, `training_item` and integer items as
            `RestorationDataset` has.
        seed: non-negative seed of the run.

    Attributes:
        tasks: names of the tasks, in the order of `datasets`.
        sizes: number of pictures of each task.

    Raises:
        DatasetError: there is no dataset, or two are of one task.
    """

    def __init__(self, datasets: Sequence[dict | Dataset], seed: int = 0):
        self.datasets = [DATASETS.build(item) if isinstance(item, dict) else item for item in datasets]
        self.seed = seed
        self.tasks = tuple(dataset.task for dataset in self.datasets)
        self.sizes = [len(dataset) for dataset in self.datasets]
        self._ends = np.cumsum(self.sizes)
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise DatasetError(f"datasets are of the tasks {list(self.tasks)}: expected at least one, each task once.")

    @property
    def metainfo(self) -> dict:
        """What mmengine hands to the metrics: the names of the tasks."""
        return {"tasks": self.tasks}

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, key: SampleKey | int) -> dict:
        """Returns an item `dict(inputs=LQ, data_samples=dict(gt=GT, task=index in tasks, generative=bool, ...))`.

        LQ and GT are uint8 tensors (3, H, W). Evaluation items also carry `task_name`, `lq_path`, `gt_path`, `name`.
        """
        if isinstance(key, SampleKey):
            return self._training_item(key)
        if not 0 <= key < len(self):
            raise IndexError(f"item {key} of {len(self)}")
        task = int(np.searchsorted(self._ends, key, side="right"))
        return _with_task(self.datasets[task][int(key - self._ends[task] + self.sizes[task])], task)

    def _training_item(self, key: SampleKey) -> dict:
        rng = np.random.default_rng((self.seed, key.stage, key.draw))
        return _with_task(self.datasets[key.task].training_item(key.index, rng, key.generative), key.task)


def _with_task(item: dict, task: int) -> dict:
    item["data_samples"]["task"] = task
    return item
