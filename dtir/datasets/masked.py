"""A pre-training on damaged pictures alone: squares of them are hidden, and are to be completed."""

import numpy as np
import torch
from torch.utils.data import Dataset

from dtir.core.errors import DatasetError
from dtir.core.ranges import PositiveInt
from dtir.registry import DATASETS


@DATASETS.register_module()
class MaskedDataset(Dataset):
    """The damaged pictures of a dataset as GT, and as LQ the same with a share of their squares black.

    It needs no clean pictures. What is learned is what the damaged ones look like: the masked reconstruction of
    MaskDCPT (arXiv 2510.13282), whose classifier of the damage is `ClassifyingRestorer`. Evaluation items are the
    dataset's.

    Args:
        task: name of the kind of degradation.
        dataset: dataset or config of one, of this task.
        square: side of the squares in pixels, counted from the top left corner of the patch.
        share: share of the squares that is hidden, in (0, 1); a patch has at least one of each.

    Raises:
        DatasetError: `share` or `square` is out of range, or the dataset is of another task.
    """

    # For the check of configs: the dataset needs no task of its own.
    given_to_parts = ("task",)

    def __init__(self, task: str, dataset: dict | Dataset, square: PositiveInt = 16, share: float = 0.5):
        self.dataset = DATASETS.build({"task": task, **dataset}) if isinstance(dataset, dict) else dataset
        if self.dataset.task != task:
            raise DatasetError(f"masked pictures of '{task}': the dataset is of '{self.dataset.task}'.")
        if square < 1:
            raise DatasetError(f"masked pictures of '{task}': square={square}: expected at least 1 pixel.")
        if not 0 < share < 1:
            raise DatasetError(f"masked pictures of '{task}': share={share}: expected a number between 0 and 1.")
        self.task = self.task_name = task
        self.square, self.share = square, share
        self.own_steps = tuple(getattr(self.dataset, "own_steps", ()))

    def __len__(self) -> int:
        return len(self.dataset)

    def training_item(self, index: int, rng: np.random.Generator, generative: bool = False, **options) -> dict:
        """Returns the dataset's item of `index` with its LQ as GT and masked as LQ; a `generative` one as it is."""
        item = self.dataset.training_item(index, rng, generative, **options)
        if generative:
            return item
        lq = item["inputs"]
        return {
            "inputs": lq * self._mask(lq.shape[-2:], rng),
            "data_samples": {**item["data_samples"], "gt": lq},
        }

    def __getitem__(self, index: int) -> dict:
        """Returns the dataset's evaluation item, nothing of it hidden."""
        return self.dataset[index]

    def _mask(self, size: tuple[int, int], rng: np.random.Generator) -> torch.Tensor:
        """1 where a picture of this size is seen and 0 where it is not; uint8, (H, W)."""
        rows, columns = (-(-side // self.square) for side in size)
        count = rows * columns
        if count < 2:
            raise DatasetError(
                f"masked pictures of '{self.task}': a patch of {size[0]} x {size[1]} pixels has one square of "
                f"{self.square} alone: take larger patches or smaller squares."
            )
        hidden = min(max(round(self.share * count), 1), count - 1)
        seen = np.ones(count, np.uint8)
        seen[rng.permutation(count)[:hidden]] = 0
        squares = torch.from_numpy(seen.reshape(rows, columns))
        whole = squares.repeat_interleave(self.square, 0).repeat_interleave(self.square, 1)
        return whole[: size[0], : size[1]]
