"""Several datasets, one per task and perhaps more for testing, behind one index."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dtir.core.errors import DatasetError
from dtir.core.ranges import Seed
from dtir.registry import DATASETS
from dtir.tasks import check_task

from .damages import Damage
from .sampler import SampleKey

# The step of a sample that has none of its own: it is restored at its task's.
NO_STEP = -1


@DATASETS.register_module()
class MultiTaskDataset(Dataset):
    """The tasks of a run.

    `dataset[SampleKey(...)]` is a training item, random by (seed, stage, draw) alone: neither worker, process, nor
    what was loaded before matters. `dataset[int]` is an evaluation item of the datasets one after another.

    Args:
        datasets: one dataset or config per task; each has `task`, `training_item` and integer items as
            `RestorationDataset` has. For testing a task may have more, told apart by their `task_name`.
        seed: non-negative seed of the training items; None for that of the run (`randomness.seed`), 0 outside of one.
        tell_damages: whether training items say which damages they have, where they have several: `damages`, a float32
            tensor (number of tasks,), the mean squared difference of values in [0, 1] that the damage of each task made
            by itself. It is 0 for tasks that play no part, and everywhere in items of one damage. Damages of tasks that
            are not among the datasets' are left out.

    Attributes:
        tasks: names of the tasks, in the order of `datasets`.
        names: what tables call each dataset: its task, or "<task>@<test set>".
        sizes: number of pictures of each dataset.
        own_steps: by task, the time steps of their own that its training items may have, where they may. If any may,
            all items have `step`, in which -1 stands for that of the task.

    Raises:
        DatasetError: there is no dataset, or two are of one task and test set.
    """

    def __init__(self, datasets: Sequence[dict | Dataset], seed: Seed | None = None, tell_damages: bool = False):
        self.datasets = [DATASETS.build(item) if isinstance(item, dict) else item for item in datasets]
        self.seed = seed
        self.tell_damages = tell_damages
        self.tasks = tuple(dict.fromkeys(dataset.task for dataset in self.datasets))
        self.names = tuple(getattr(dataset, "task_name", dataset.task) for dataset in self.datasets)
        self.sizes = [len(dataset) for dataset in self.datasets]
        self._ends = np.cumsum(self.sizes)
        self.own_steps = {
            dataset.task: dataset.own_steps for dataset in self.datasets if getattr(dataset, "own_steps", ())
        }
        if not self.names or len(set(self.names)) < len(self.names):
            raise DatasetError(
                f"datasets are of the tasks {list(self.names)}: expected at least one, each task once. Another "
                "test set of a task needs test_set='name'."
            )
        self.number_tasks(self.tasks)

    def number_tasks(self, tasks: Sequence[str]) -> None:
        """Has the items carry the indices of `tasks`, a model's, in place of those of the dataset's own tasks.

        Raises:
            TaskError: the model does not know a task.
        """
        self._numbers = [tasks.index(check_task(dataset.task, tuple(tasks))) for dataset in self.datasets]

    @property
    def metainfo(self) -> dict:
        """What mmengine hands to the metrics: the names of the tasks."""
        return {"tasks": self.tasks}

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, key: SampleKey | int) -> dict:
        """Returns an item `dict(inputs=LQ, data_samples=dict(gt=GT, task=index in tasks, generative=bool, ...))`.

        LQ and GT are uint8 tensors (3, H, W). Evaluation items also carry `task_name`, `lq_path`, `gt_path`, `name`.

        Raises:
            DatasetError: `tell_damages`, and the class of a damage that joined in names no task.
        """
        if isinstance(key, SampleKey):
            return self._training_item(key)
        if not 0 <= key < len(self):
            raise IndexError(f"item {key} of {len(self)}")
        member = int(np.searchsorted(self._ends, key, side="right"))
        item = self.datasets[member][int(key - self._ends[member] + self.sizes[member])]
        return _with_task(item, self._numbers[member])

    def _training_item(self, key: SampleKey) -> dict:
        rng = np.random.default_rng((self.seed or 0, key.stage, key.draw))
        # A dataset of the user's own need not know about stages with patches of another size.
        options = {} if key.patch is None else {"patch": key.patch}
        item = self.datasets[key.task].training_item(key.index, rng, key.generative, **options)
        samples = item["data_samples"]
        if self.own_steps:
            # So that items with and without a step of their own make a batch.
            samples.setdefault("step", NO_STEP)
        damages = samples.pop("damages", ())
        if self.tell_damages:
            samples["damages"] = self._errors(self.datasets[key.task].task, damages)
        return _with_task(item, key.task)

    def _errors(self, own: str, damages: Sequence[Damage]) -> Tensor:
        errors = dict.fromkeys(self.tasks, 0.0)
        for damage in damages:
            task = damage.task if damage.kind else own
            if task is None:
                raise DatasetError(
                    f"'{damage.kind}' joins in on pictures of '{own}' and names no task that removes it, which "
                    f'tell_damages=True asks for: set task = "noisy", or the like, in the class {damage.kind}.'
                )
            if task in errors:
                errors[task] += damage.error
        return torch.tensor(list(errors.values()))


def _with_task(item: dict, task: int) -> dict:
    item["data_samples"]["task"] = task
    return item
