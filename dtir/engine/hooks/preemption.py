"""Ending a training with a checkpoint when one asks: Slurm's preemption and time limit, `kill`, Ctrl-C."""

import contextlib
import os
import signal
import threading
import time

import torch
import torch.distributed as dist
from mmengine.dist import get_world_size

from dtir.core.stage_hook import EstimateStopped, StageHook
from dtir.engine.data_workers import SIGNALS
from dtir.registry import HOOKS

# Steps after which several processes tell each other, as each time costs a wait for the device; fewer where they take
# longer than so many seconds, as those who ask wait half a minute.
INTERVAL, SECONDS = 10, 5.0
STDERR = 2
ONCE_MORE = b"\nStopping with a checkpoint after this step; Ctrl-C once more stops at once.\n"


@HOOKS.register_module()
class PreemptionHook(StageHook):
    """Stops a training after the present step, with a checkpoint, when its process gets SIGTERM, SIGUSR1 or, by Ctrl-C,
    SIGINT; in what is estimated before a stage, at once. A second Ctrl-C ends a training of one process there and then.

    With several processes all of them stop after the same step, at most 10 steps or some seconds later. A run that is
    resumed ends with the same bits as one that was never stopped.

    Attributes:
        asked: Name of the signal that came, "another process" where it came to one of the others, or None.
    """

    priority = "VERY_HIGH"

    def __init__(self) -> None:
        self.asked: str | None = None
        self._previous: dict[int, object] = {}
        self._next = self._last = 0
        self._since = 0.0

    def before_train(self, runner) -> None:
        """Listens; only the main thread of a process can."""
        self._next = self._last = runner.iter
        self._since = time.perf_counter()
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in SIGNALS}
            # A shell's background job ignores it, and goes on to.
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self._previous[signal.SIGINT] = signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame) -> None:
        self.asked = signal.Signals(number).name
        # Each of several gets it twice, from the terminal and from torchrun.
        if number == signal.SIGINT and get_world_size() == 1:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            # Past the streams, one of which may be in the middle of a line.
            with contextlib.suppress(OSError):
                os.write(STDERR, ONCE_MORE)

    def after_step(self, runner, stage) -> None:
        """Has the loop stop, where any process was asked to; the checkpoint is written by the hook for checkpoints."""
        if self._any_asked(runner):
            self.asked = self.asked or "another process"
            runner.logger.warning(f"{self.asked}: stopping with a checkpoint; --resume goes on.")
            runner.train_loop.stop_training = True

    def on_estimate(self, runner, what: str, done: int, total: int) -> None:
        """Ends a training of one process in the middle of an estimate, which may take longer than the system waits.

        Raises:
            EstimateStopped: A signal came. The checkpoint is that of the stage before, which a resumed run estimates
                from again.
        """
        if self.asked is not None and get_world_size() == 1 and done < total:
            raise EstimateStopped(f"{self.asked}: stopping at {done} of {total} of '{what}'.")

    def _any_asked(self, runner) -> bool:
        if get_world_size() == 1:
            return self.asked is not None
        if runner.iter < self._next:
            return False
        now = time.perf_counter()
        own = [float(self.asked is not None), (now - self._since) / max(1, runner.iter - self._last)]
        # The slowest of all, so that all agree on the step at which they tell each other next.
        facts = torch.tensor(own, device=next(runner.model.parameters()).device)
        dist.all_reduce(facts, dist.ReduceOp.MAX)
        asked, seconds = facts.tolist()
        self._last, self._since = runner.iter, now
        self._next = runner.iter + max(1, min(INTERVAL, int(SECONDS / max(seconds, 1e-6))))
        return bool(asked)

    def close(self, runner) -> None:
        """Gives the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
