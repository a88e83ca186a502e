"""What the metrics share: one value per picture, the mean per task, the mean over tasks."""

from abc import abstractmethod
from collections.abc import Sequence
from statistics import fmean

from mmengine.evaluator import BaseMetric
from torch import Tensor

from dtir.evaluation.protocols import get_protocol

AVERAGE = "average"


class PictureMetric(BaseMetric):
    """A metric of a picture against its GT.

    `evaluate` returns `<task>/<name>` for each task and `average/<name>`, the mean of the tasks' means, as the paper's
    tables average.

    Args:
        protocol: Name of the protocol, see `dtir.evaluation.protocols`.
        **kwargs: Of mmengine's `BaseMetric`.

    Attributes:
        name: Name of the value.
        source: Which picture of a sample is measured: "pred" or "lq".

    Raises:
        ConfigError: The protocol is unknown.
    """

    name = ""
    source = "pred"
    default_prefix = ""

    def __init__(self, protocol: str = "rgb", **kwargs) -> None:
        super().__init__(**kwargs)
        self.protocol = get_protocol(protocol)

    @abstractmethod
    def measure(self, picture: Tensor, gt: Tensor) -> Tensor:
        """Values (N,) of pictures and GTs (N, 3, H, W) in [0, 1]."""

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Measures the samples: dicts with `pred` (3, H, W) in [0, 1], `lq` and `gt` uint8, `task_name`, `name`."""
        for sample in data_samples:
            gt = sample["gt"].to(sample["pred"].device)[None] / 255
            picture = sample[self.source].to(gt.device)[None]
            picture = picture if picture.is_floating_point() else picture / 255
            value = self.measure(picture, gt).item()
            self.results.append({"task": sample["task_name"], "name": sample["name"], "value": value})

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Means per task, in the order in which tasks appear, and their mean."""
        values: dict[str, list[float]] = {}
        for result in results:
            values.setdefault(result["task"], []).append(result["value"])
        means = {f"{task}/{self.name}": fmean(numbers) for task, numbers in values.items()}
        return {**means, f"{AVERAGE}/{self.name}": fmean(means.values())}
