"""How much memory this process has needed at most."""

import multiprocessing
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch

Result = TypeVar("Result")
STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """Most bytes ever allocated on the GPU, where there is one; else the largest resident memory of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if STATUS.is_file():
        # Not ru_maxrss, which begins with that of the process that started this one.
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_new_process(function: Callable[..., Result], *args: object) -> Result:
    """What a function returns in a process of its own, whose `peak_bytes` nothing else has raised.

    Raises:
        concurrent.futures.process.BrokenProcessPool: The process was killed, such as for want of memory.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()
