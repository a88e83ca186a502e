"""Stopping a run in the middle, to hold it to going on where it was stopped."""

from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.hooks import Hook


class StoppedError(RuntimeError):
    """Raised where a run was to be stopped."""


class StopHook(Hook):
    """Stops a run in one call of a hook point, after all other hooks were called and before what comes next.

    Args:
        point: Name of the hook point, such as "before_optim_step": nothing of the step is applied or saved yet.
        call: Number of the call that stops the run, from 0; of a point of a training's step in a run that starts anew,
            the iteration.
    """

    priority = "LOWEST"

    def __init__(self, point: str, call: int) -> None:
        self.call, self.calls = call, 0
        setattr(self, point, self._count)

    def _count(self, runner, **arguments) -> None:
        if self.calls == self.call:
            raise StoppedError
        self.calls += 1


@contextmanager
def stopped(runner, point: str, call: int) -> Iterator[None]:
    """For a `with` statement that runs a runner until it is stopped. Arguments as of `StopHook`.

    Raises:
        AssertionError: The run came to its end.
    """
    runner.register_hook(StopHook(point, call))
    try:
        yield
    except StoppedError:
        return
    raise AssertionError(f"the run ended before call {call} of {point}")
