"""Measuring seconds of several things in turn, so that all see the same machine."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch

WARM_UP_ROUNDS = 3


def synchronize() -> None:
    """Waits for the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds_of(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call by a clock, the GPU's part included."""
    synchronize()
    start = clock()
    call()
    synchronize()
    return clock() - start


def alternate(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    warm_up: int = WARM_UP_ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each call over `rounds` rounds, after `warm_up` rounds that do not count.

    With `time.process_time` as the clock other programs on the machine count little; the times are summed over threads.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + warm_up):
        for name, call in calls.items():
            seconds[name].append(seconds_of(call, clock))
    return {name: statistics.median(values[warm_up:]) for name, values in seconds.items()}
