"""What the metrics share: one value per picture, the mean per task, the mean over tasks."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from dtir.core.errors import ConfigError, DatasetError
from dtir.evaluation.measures import Measure
from dtir.evaluation.metrics.protocols import get_protocol
from dtir.evaluation.statistics import mean_of_finite
from dtir.tasks import averaged_rows

AVERAGE = "average"


class PictureMetric(BaseMetric):
    """A metric of a picture against its GT.

    `evaluate` returns `<task>/<name>` for each task and `average/<name>`, the mean of the tasks' means, as the paper's
    tables average. Generalisation sets have values of their own, `<task>@<set>/<name>`, that the average is without.

    Args:
        protocol: Name of the protocol, see `dtir.evaluation.metrics.protocols`.
        **kwargs: Of mmengine's `BaseMetric`.

    Attributes:
        name: Name of the value.
        higher_is_better: Whether a larger value is the better one.
        digits: Digits after the point in tables.
        unit: Unit of the value, empty for a number without one.
        title: Heading of the column; by default the label.
        key: Name of the value in results.json; by default the label in lower case.
        source: Which picture of a sample is measured: "pred" or "lq".
        counts: Pictures per task of the last evaluation; filled on the main process.

    Raises:
        ConfigError: The protocol is unknown.
    """

    name = ""
    higher_is_better: bool | None = None
    digits = 4
    unit = ""
    title = ""
    key = ""
    source = "pred"
    default_prefix = ""

    def __init__(self, protocol: str = "rgb", **kwargs) -> None:
        super().__init__(**kwargs)
        self.protocol = get_protocol(protocol)
        self.counts: dict[str, int] = {}

    @property
    def label(self) -> str:
        """Name of the value in tables: `name`, after the prefix where one is set."""
        return f"{self.prefix}/{self.name}" if self.prefix else self.name

    def describe(self) -> str:
        """How the value is measured, in words, as tables print it."""
        return f"protocol '{self.protocol.name}' ({self.protocol.describe()})"

    def measure_taken(self) -> Measure:
        """What tables and charts need to know of the value."""
        # A prefix tells two metrics of one name apart, in files and headings too.
        named = {} if self.prefix else {"title": self.title, "key": self.key}
        return Measure(
            self.label,
            **named,
            higher_is_better=self.higher_is_better,
            digits=self.digits,
            unit=self.unit,
            protocol=self.protocol.name,
            words=self.describe(),
        )

    @abstractmethod
    def measure(self, picture: Tensor, gt: Tensor) -> Tensor:
        """Values (N,) of pictures and GTs (N, 3, H, W) in [0, 1]."""

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Measures the samples: dicts with `pred` (3, H, W) in [0, 1], `lq` and `gt` uint8, `task_name`, `name`.

        Raises:
            DatasetError: A picture is too small for the metric, or not of its GT's size; the message names it.
            ConfigError: The metric has no `name`, or does not give one value for each picture.
        """
        if not self.name:
            raise ConfigError(f"{type(self).__name__} has no `name`; give the class one, which tables show.")
        # One read from the device per batch.
        values = torch.stack([self._value(sample) for sample in data_samples]).tolist()
        for sample, value in zip(data_samples, values, strict=True):
            self.results.append({"task": sample["task_name"], "name": sample["name"], "value": value})

    def _value(self, sample: dict) -> Tensor:
        device = sample["pred"].device
        picture, gt = (_to_unit(sample[key].to(device))[None] for key in (self.source, "gt"))
        try:
            values = self.measure(picture, gt)
        except ValueError as error:
            raise DatasetError(
                f"{self.name} (protocol '{self.protocol.name}') of picture '{sample['name']}' of task "
                f"'{sample['task_name']}': {error} Mend or remove the picture, or leave {self.name} out of "
                "val_evaluator and test_evaluator."
            ) from error
        if not isinstance(values, Tensor) or values.shape != (1,):
            found = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else f"a {type(values).__name__}"
            raise ConfigError(
                f"{type(self).__name__}.measure gives {found} for one picture (1, 3, H, W); expected a tensor with one "
                "value for each, (1,): end with .flatten(1).mean(1)."
            )
        return values[0]

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Means per task and set, in the order in which they appear, and the mean of `averaged_rows`.

        Values that are not finite are left out, but for a task that has no others.
        """
        values: dict[str, list[float]] = {}
        for result in results:
            values.setdefault(result["task"], []).append(result["value"])
        self.counts = {task: len(numbers) for task, numbers in values.items()}
        means = {task: mean_of_finite(numbers) for task, numbers in values.items()}
        means[AVERAGE] = mean_of_finite(means[task] for task in averaged_rows(means))
        return {f"{task}/{self.name}": mean for task, mean in means.items()}


def _to_unit(picture: Tensor) -> Tensor:
    return picture if picture.is_floating_point() else picture / 255
