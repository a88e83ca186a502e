"""Pictures restored by several processes, each of which loads the model once."""

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from dtir.apis.folder import Failure, Job, RestoreOne, failure_of
from dtir.config.imports import import_module

# Pictures that wait for a worker, for each worker: enough that none is idle, few enough for any number of pictures.
WAITING = 2

_restore_one: RestoreOne | None = None


@dataclass(frozen=True)
class Recipe:
    """How a worker makes what restores a picture; to be pickled.

    Attributes:
        make: Makes it from the arguments: a function of a module.
        arguments: Its arguments.
        imports: Modules to import first, which register networks.
    """

    make: Callable[..., RestoreOne]
    arguments: tuple
    imports: tuple[str, ...] = ()


def run_in_processes(jobs: Sequence[Job], recipe: Recipe, workers: int) -> Iterator[tuple[Job, object]]:
    """Yields every job with its result or its `Failure`, in the order in which they end.

    Where the system ends a worker, for want of memory for example, the pictures in work are restored again, each alone
    with a worker of its own, and the one that ends that too has failed.
    """
    left = list(jobs)
    while left:
        done, suspects = set(), []
        with _pool(recipe, workers) as pool:
            for job, result in _drain(pool, left, WAITING * workers, suspects):
                done.add(job)
                yield job, result
        for job in suspects:
            yield job, _alone(job, recipe)
        done.update(suspects)
        left = [job for job in left if job not in done]


@contextlib.contextmanager
def _pool(recipe: Recipe, workers: int) -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin, (recipe, _threads(workers), list(sys.path)))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _drain(
    pool: ProcessPoolExecutor, jobs: Sequence[Job], most: int, suspects: list[Job]
) -> Iterator[tuple[Job, object]]:
    """Runs jobs, so many at once, until all are done or a worker ends; then those in work are added to `suspects`."""
    waiting = iter(jobs)
    running: dict[Future, Job] = {}
    try:
        while True:
            while len(running) < most and (job := next(waiting, None)) is not None:
                running[pool.submit(_run, job)] = job
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                result = future.result()
                yield running.pop(future), result
    except BrokenProcessPool:
        suspects += running.values()


def _alone(job: Job, recipe: Recipe) -> object:
    try:
        with _pool(recipe, 1) as pool:
            return pool.submit(_run, job).result()
    except BrokenProcessPool:
        return Failure(job.source, "the process that restored it was ended twice, perhaps for want of memory.")


def _begin(recipe: Recipe, threads: int, path: list[str]) -> None:
    global _restore_one
    sys.path[:] = path
    for name in recipe.imports:
        import_module(name, "--import")
    _restore_one = recipe.make(*recipe.arguments)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def _run(job: Job) -> object:
    try:
        return _restore_one(job.source, job.target, lambda done, total: None)
    except Exception as error:
        failure = failure_of(job, error)
        if failure is None:
            raise
        return failure


def _threads(workers: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // workers)
