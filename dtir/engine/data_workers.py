"""The processes that read data: how many, and how they begin."""

import multiprocessing
import os
import signal
import threading

import torch
from mmengine.logging import MMLogger

from dtir.core.cores import usable_cores
from dtir.core.denormals import flush_denormals

# Reading waits for disks, so that several processes on a core are of use; beyond these they only take memory.
WORKERS_PER_CORE = 4
# No bound for what configs usually have, which are written for larger machines.
ALWAYS_GRANTED = 16
# With which a system tells a job that it is to end; Windows lacks the second.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))


def granted_workers(asked: int) -> int:
    """The processes that are started where a config asks for so many; fewer than asked are logged.

    Samples do not depend on their number, so that a config of a large machine trains the same on a small one.
    """
    most = max(ALWAYS_GRANTED, WORKERS_PER_CORE * usable_cores())
    if asked > most:
        MMLogger.get_current_instance().warning(
            f"num_workers={asked}: {most} are started, {WORKERS_PER_CORE} for each of the {usable_cores()} cores here, "
            f"at least {ALWAYS_GRANTED}; samples are the same."
        )
    return min(asked, most)


def begin_worker(worker_id: int) -> None:
    """What each worker of a `DataLoader` does first: one thread, and it outlives a signal to the whole job."""
    # First of all, as libraries begin threads, which heed what is not blocked by then. Without this call, on macOS and
    # Windows, nothing tells whose signal it is.
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        training = multiprocessing.parent_process().pid
        threading.Thread(target=_end_by_the_training_alone, args=(training,), daemon=True).start()
    # Ctrl-C in a terminal is told to all; it is the training that ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    # Workers that are not forked do not have it of the training.
    flush_denormals()


def _end_by_the_training_alone(training: int) -> None:
    # A system that ends a job signals its workers too, whose data the last step and the checkpoint still wait for.
    # When the training itself ends, or fails, it signals those that are left, and waits for them. It is not the parent
    # that the system knows where a server forks the workers.
    while signal.sigwaitinfo(SIGNALS).si_pid != training:
        pass
    os._exit(0)
