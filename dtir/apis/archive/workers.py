"""Pictures restored by several processes, each of which loads the model once."""

import contextlib
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from dtir.apis.archive.attempt import Done, attempt, origin_of, stamp_of
from dtir.apis.archive.folder import Failure, Job, RestoreOne
from dtir.config.imports import import_module
from dtir.core.cores import usable_cores

# Pictures that wait for a worker, for each worker: enough that none is idle, few enough for any number of pictures.
WAITING = 2

_restore_one: RestoreOne | None = None
_fault: Exception | None = None


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

    def follow(self, threads: int) -> RestoreOne:
        """Makes it, in a process that has just begun, to compute with so many threads."""
        for name in self.imports:
            import_module(name, "--import")
        restore_one = self.make(*self.arguments)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)
        return restore_one


def run_in_processes(jobs: Sequence[Job], recipe: Recipe, workers: int) -> Iterator[tuple[Job, Done]]:
    """Yields every job with what became of it, in the order in which they end.

    Where the system ends a worker, for want of memory for example, the pictures in work are restored again, each alone
    with a worker of its own, and the one that ends that too has failed.
    """
    waiting = iter(jobs)
    while True:
        suspects: list[Job] = []
        with _pool(recipe, workers) as pool:
            yield from _drain(pool, waiting, WAITING * workers, suspects)
        if not suspects:
            return
        for job in suspects:
            yield job, _alone(job, recipe)


@contextlib.contextmanager
def _pool(recipe: Recipe, workers: int) -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin, (recipe, _threads(workers), list(sys.path)))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _drain(
    pool: ProcessPoolExecutor, waiting: Iterator[Job], most: int, suspects: list[Job]
) -> Iterator[tuple[Job, Done]]:
    """Runs jobs, so many at once, until all are done or a worker ends; then those in work are added to `suspects`."""
    running: dict[Future, Job] = {}
    try:
        while True:
            while len(running) < most and (job := next(waiting, None)) is not None:
                suspects.append(job)
                running[pool.submit(_run, job)] = suspects.pop()
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                done = future.result()
                yield running.pop(future), done
    except BrokenProcessPool:
        suspects += running.values()


def _alone(job: Job, recipe: Recipe) -> Done:
    try:
        with _pool(recipe, 1) as pool:
            return pool.submit(_run, job).result()
    except BrokenProcessPool:
        return ended_twice(job)


def ended_twice(job: Job) -> Done:
    """What became of a picture that ended the process that restored it, and the one that tried it again alone."""
    failure = Failure(job.source, "the process that restored it was ended twice, perhaps for want of memory.")
    return Done(failure, origin_of(job.source, stamp_of(job.source)))


def _begin(recipe: Recipe, threads: int, path: list[str]) -> None:
    global _restore_one, _fault
    sys.path[:] = path
    try:
        _restore_one = recipe.follow(threads)
    except Exception as error:
        # Raised here it would break the pool, as the system does that ends a process, and nothing would say why.
        _fault = error


def _run(job: Job) -> Done:
    if _fault is not None:
        raise _fault
    return attempt(_restore_one, job, lambda done, total: None)


def _threads(workers: int) -> int:
    return max(1, usable_cores() // workers)
