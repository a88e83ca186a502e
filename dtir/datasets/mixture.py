"""One task from several sources: real pairs of some kinds beside synthetic ones."""

from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

from dtir.core.errors import DatasetError
from dtir.registry import DATASETS


@DATASETS.register_module()
class MixtureDataset(Dataset):
    """Datasets of one task, each with its share of the training samples, whatever their numbers of pictures.

    Evaluation items are those of the datasets one after another.

    Args:
        task: name of the kind of degradation.
        datasets: datasets or configs of them, all of this task.
        shares: share of the training samples of each dataset, positive; they are normalised to a sum of 1.
        weight: number of pictures that the mixture counts for where a stage mixes tasks "proportional" to theirs.

    Raises:
        DatasetError: there is no dataset, one is of another task, or there is not one positive share for each.
    """

    # For the check of configs: the datasets need no task of their own.
    given_to_parts = ("task",)

    def __init__(self, task: str, datasets: Sequence[dict | Dataset], shares: Sequence[float], weight: int = 1000):
        self.datasets = [
            DATASETS.build({"task": task, **item}) if isinstance(item, dict) else item for item in datasets
        ]
        self.task = self.task_name = task
        others = sorted({dataset.task for dataset in self.datasets} - {task})
        if not self.datasets or others:
            raise DatasetError(f"mixture of '{task}': expected at least one dataset, all of this task, got {others}.")
        if len(shares) != len(self.datasets) or min(shares) <= 0 or weight < 1:
            raise DatasetError(
                f"mixture of '{task}': shares={list(shares)} and weight={weight}: expected one positive share for each "
                f"of the {len(self.datasets)} datasets, and a weight of at least 1."
            )
        self.shares = np.asarray(shares, float) / sum(shares)
        self.weight = weight
        self.own_steps = tuple(sorted({step for part in self.datasets for step in getattr(part, "own_steps", ())}))

    def __len__(self) -> int:
        return self.weight

    def training_item(self, index: int, rng: np.random.Generator, generative: bool = False, **options) -> dict:
        """Returns a training item of a dataset and a picture that are drawn from `rng`; `index` plays no part."""
        dataset = self.datasets[rng.choice(len(self.datasets), p=self.shares)]
        return dataset.training_item(int(rng.integers(len(dataset))), rng, generative, **options)

    def __getitem__(self, index: int) -> dict:
        """Returns the evaluation item of number `index` of all datasets' pictures, counted on where they end."""
        number = index % sum(len(dataset) for dataset in self.datasets)
        for dataset in self.datasets:
            if number < len(dataset):
                return dataset[number]
            number -= len(dataset)
        raise IndexError(index)
