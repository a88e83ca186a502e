"""What restoring costs, measured while a test runs."""

import json
import statistics
import time
from pathlib import Path

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from dtir.core.atomic import atomic_write
from dtir.measure.complexity import count_macs, count_parameters
from dtir.measure.memory import peak_bytes
from dtir.measure.timing import synchronize
from dtir.registry import HOOKS, RESTORERS, SCOPE

COST_FILE = "cost.json"
# Side of the picture that multiply-accumulates are stated for, as papers do.
SIDE = 256


@HOOKS.register_module()
class CostHook(Hook):
    """Writes `report/cost.json` when a test has ended: parameters, multiply-accumulates of a picture of 256 x 256, the
    median seconds per megapixel, the most memory that the process needed, and where it ran.

    The seconds are those of the restorer alone, tiles and sampling steps included, without loading and metrics.
    """

    priority = "LOW"

    def before_test(self, runner) -> None:
        """Starts the watch."""
        self._model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._seconds: list[float] = []
        self._handles = [
            self._model.register_forward_pre_hook(self._begin),
            self._model.register_forward_hook(self._end, with_kwargs=True),
        ]

    def _begin(self, model: nn.Module, args: tuple) -> None:
        synchronize()
        self._since = time.perf_counter()

    def _end(self, model: nn.Module, args: tuple, kwargs: dict, outputs: object) -> None:
        synchronize()
        pictures = kwargs["inputs"] if "inputs" in kwargs else args[0]
        pixels = sum(picture.shape[-2] * picture.shape[-1] for picture in pictures)
        self._seconds.append((time.perf_counter() - self._since) / (pixels / 1e6))

    def after_test_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Writes the file; a test that was resumed without a picture left to measure keeps the one it has."""
        for handle in self._handles:
            handle.remove()
        if get_rank() != 0 or not self._seconds:
            return
        device = next(self._model.parameters()).device
        cost = {
            "parameters": count_parameters(self._model),
            "macs": _macs(runner),
            "side": SIDE,
            "seconds_per_megapixel": statistics.median(self._seconds),
            "peak_bytes": peak_bytes(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
            "threads": torch.get_num_threads(),
        }
        with atomic_write(Path(runner.work_dir) / "report" / COST_FILE, "w", encoding="utf-8") as file:
            json.dump(cost, file, indent=1)


def _macs(runner) -> int | None:
    """Counted on a twin without memory; None, with a line in the log, where a network of one's own has none."""
    try:
        with torch.device("meta"), DefaultScope.overwrite_default_scope(SCOPE):
            twin = RESTORERS.build(runner.cfg.model).eval()
            picture, t = torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1, dtype=torch.long)
            return count_macs(lambda: twin.restore(picture, t))
    except (NotImplementedError, RuntimeError) as error:
        runner.logger.warning(f"multiply-accumulates were not counted: no run on the meta device ({error}).")
        return None
