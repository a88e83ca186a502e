"""A pre-training that makes the damage which is to be removed afterwards."""

import numpy as np
from torch.utils.data import Dataset

from dtir.core.errors import DatasetError
from dtir.registry import DATASETS


@DATASETS.register_module()
class ReversedDataset(Dataset):
    """The pairs of a dataset the other way round: LQ is the clean picture, GT the damaged one.

    A network that learns to make a damage has to know how it looks and where it lies: the idea of DegAE (CVPR 2023),
    which transfers the damage of another picture, in its simplest form. Evaluation items are the dataset's.

    Args:
        task: name of the kind of degradation.
        dataset: dataset or config of one, of this task.

    Raises:
        DatasetError: the dataset is of another task.
    """

    # For the check of configs: the dataset needs no task of its own.
    given_to_parts = ("task",)

    def __init__(self, task: str, dataset: dict | Dataset):
        self.dataset = DATASETS.build({"task": task, **dataset}) if isinstance(dataset, dict) else dataset
        if self.dataset.task != task:
            raise DatasetError(f"reversed pairs of '{task}': the dataset is of '{self.dataset.task}'.")
        self.task = self.task_name = task
        self.own_steps = tuple(getattr(self.dataset, "own_steps", ()))

    def __len__(self) -> int:
        return len(self.dataset)

    def training_item(self, index: int, rng: np.random.Generator, generative: bool = False, **options) -> dict:
        """Returns the dataset's item of `index` with LQ and GT exchanged."""
        item = self.dataset.training_item(index, rng, generative, **options)
        samples = item["data_samples"]
        return {"inputs": samples["gt"], "data_samples": {**samples, "gt": item["inputs"]}}

    def __getitem__(self, index: int) -> dict:
        """Returns the dataset's evaluation item, as it is."""
        return self.dataset[index]
