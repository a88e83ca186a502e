"""Logging per stage, with values read from the device only when a line is due."""

import math
import time
from collections.abc import Iterable
from datetime import timedelta

import torch
from mmengine.hooks import LoggerHook, RuntimeInfoHook
from torch import Tensor

from dtir.core.errors import DtirError
from dtir.core.ranges import PositiveInt
from dtir.core.stage_hook import StageHook
from dtir.registry import HOOKS

# Latest values that mmengine's message hub keeps of each scalar.
HISTORY_LENGTH = 1000
# Between two lines about what is estimated before a stage.
ESTIMATE_LINE_SECONDS = 10.0


@HOOKS.register_module()
class StageRuntimeInfoHook(RuntimeInfoHook):
    """mmengine's runtime information without its read of every loss in every iteration (a device sync).

    The message hub's histories are kept short: each new value copies its whole history, which costs milliseconds an
    iteration after a million.
    """

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Tells the hub iteration and learning rate."""
        super().before_train_iter(runner, batch_idx, data_batch)
        for history in runner.message_hub.log_scalars.values():
            history.max_length = HISTORY_LENGTH

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Leaves the losses to `StageLoggerHook`."""

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Hands on the finite values: the logs are JSON, which has no others."""
        super().after_val_epoch(runner, {name: v for name, v in (metrics or {}).items() if math.isfinite(v)})


@HOOKS.register_module()
class StageLoggerHook(LoggerHook, StageHook):
    """One line per `interval` iterations: stage, losses (mean since the last line, over the steps that were taken),
    steps skipped so far, rate, times and ETAs.

    The same values go to the visualizer: JSON lines, TensorBoard, W&B, as configured.

    Args:
        interval: Iterations between lines.
        **kwargs: Of mmengine's `LoggerHook`.

    Raises:
        DtirError: A loss is not finite. It is found when a line is due, and so before a checkpoint is written if the
            checkpoint interval is a multiple of this one.
    """

    def __init__(self, interval: PositiveInt = 50, **kwargs) -> None:
        kwargs.setdefault("log_metric_by_epoch", False)
        super().__init__(interval=interval, **kwargs)
        self._estimated = ""

    def before_stage(self, runner, stage, fresh: bool) -> None:
        """Announces the stage."""
        s = stage.settings
        loop = runner.train_loop
        tasks = ", ".join(runner.model.tasks[k] for k in loop.stage_tasks(stage))
        trainable = sum(p.numel() for p in runner.model.parameters() if p.requires_grad)
        runner.logger.info(
            f"Stage {stage.index + 1}/{len(loop.plan)} '{stage.name}': iterations {runner.iter}..{stage.end}, tasks: "
            f"{tasks}; generative share {s.generative_share:g}, lr {s.lr:g} {s.schedule}, "
            f"{trainable / 1e6:.2f} M trainable parameters"
        )
        self._start_window()

    def on_estimate(self, runner, what: str, done: int, total: int) -> None:
        """Writes a line now and then, with the time left; of what takes seconds, none."""
        now = time.perf_counter()
        if what != self._estimated:
            self._estimated, self._begun, self._told = what, now, now
        elif now - self._told >= ESTIMATE_LINE_SECONDS:
            self._told = now
            # Since the first part, which began before it was told of.
            left = (now - self._begun) / max(1, done - 1) * (total - done)
            runner.logger.info(f"{what} [{done}/{total}]  eta {timedelta(seconds=int(left))}")
        if done == total:
            self._estimated = ""

    def _start_window(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = self._taken = 0
        self._data_time = 0.0
        self._since = time.perf_counter()

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Adds the losses up on the device; writes a line when due."""
        skipper = runner.optim_wrapper.skipper
        if skipper is None or skipper.taken:
            for name, value in outputs.items():
                self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._taken += 1
        self._count += 1
        self._data_time += runner.train_loop.data_time
        loop = runner.train_loop
        if (runner.iter + 1) % self.interval == 0 or runner.iter + 1 == loop.stage.end:
            self._write(runner, loop)
            self._start_window()

    def _write(self, runner, loop) -> None:
        losses = self._mean_losses()
        self._check_finite(runner, losses)
        norm = runner.optim_wrapper.grad_norm
        seconds = (time.perf_counter() - self._since) / self._count
        scalars = {
            **losses,
            # An fp16 step that overflowed has none; JSON has no infinity.
            **({"grad_norm": float(norm)} if norm is not None and math.isfinite(norm) else {}),
            **_skipped(runner),
            "lr": runner.optim_wrapper.lr,
            "time": seconds,
            "data_time": self._data_time / self._count,
            "stage": loop.stage.index,
        }
        runner.visualizer.add_scalars(scalars, step=runner.iter + 1, file_path=self.json_log_path)
        runner.logger.info(self._line(runner, loop, losses, scalars, seconds))

    def _mean_losses(self) -> dict[str, float]:
        """Over the steps that were taken; empty where all were skipped."""
        if not self._sums:
            return {}
        values = (stacked(self._sums.values()) / self._taken).tolist()
        return dict(zip(self._sums, values, strict=True))

    def _line(self, runner, loop, losses: dict, scalars: dict, seconds: float) -> str:
        done, stage = runner.iter + 1, loop.stage
        eta = [timedelta(seconds=int(seconds * (end - done))) for end in (stage.end, loop.max_iters)]
        skipped = {name: count for name, count in _skipped(runner).items() if count}
        shown = "  ".join([f"{k} {v:.4f}" for k, v in losses.items()] + [f"{k} {v}" for k, v in skipped.items()])
        return (
            f"{stage.name} [{done - stage.start}/{stage.settings.iters}] [{done}/{loop.max_iters}]  {shown}  "
            f"lr {scalars['lr']:.2e}  {seconds:.3f} s/it (data {scalars['data_time']:.3f})  "
            f"eta stage {eta[0]}, all {eta[1]}"
        )

    @staticmethod
    def _check_finite(runner, losses: dict[str, float]) -> None:
        bad = [name for name, value in losses.items() if not math.isfinite(value)]
        if bad:
            raise DtirError(
                f"{', '.join(bad)} is not finite near iteration {runner.iter + 1}. Lower the stage's lr, set "
                "optim_wrapper.clip_grad, or use amp='bf16' instead of 'fp16'; then --resume from a good checkpoint."
            )


def stacked(scalars: Iterable[Tensor]) -> Tensor:
    """Scalars as one float32 tensor (N,), to be read back at once: on their device, or, where hooks log some from the
    CPU beside losses of another device, on that one."""
    scalars = list(scalars)
    device = next((scalar.device for scalar in scalars if scalar.device.type != "cpu"), scalars[0].device)
    return torch.stack([scalar.to(device, torch.float32) for scalar in scalars])


def _skipped(runner) -> dict[str, int]:
    skipper = runner.optim_wrapper.skipper
    return {} if skipper is None else {f"skipped_{reason}": count for reason, count in skipper.skipped.items()}
