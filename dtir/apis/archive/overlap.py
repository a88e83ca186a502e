"""Pictures restored one after the other, while the next is read and the last is written."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import NamedTuple, TypeVar

from dtir.apis.archive.attempt import Done, Origin, failure_of, origin_of, stamp_of
from dtir.apis.archive.folder import Failure, Job
from dtir.apis.restoring.file_restoring import FileRestorer, Read, Restored, Written
from dtir.apis.restoring.wish import OnTile

# Of the time that a picture took: for so long its writing is waited for, so that the log has it before the next begins.
PATIENCE = 0.05

T = TypeVar("T")


class Begun(NamedTuple):
    """A picture that was read: its job, the stamp of the file before it was, and what was read."""

    job: Job
    stamp: tuple[int | None, int | None]
    read: Read | Failure | None


class Ended(NamedTuple):
    """A picture that waits for its name, and which file exactly it was made from."""

    job: Job
    written: Written | Failure | None
    origin: Origin | None


def run_overlapped(
    restorer: FileRestorer, jobs: Sequence[Job], begin: Callable[[Job], OnTile]
) -> Iterator[tuple[Job, Done]]:
    """Yields every job with what became of it, in their order.

    One picture is read and one written ahead, no more, so that the memory is bounded. An output has its name only when
    it is yielded: of a run that is killed, no picture is there that is not in its log. Pictures that were restored when
    something interrupts the run are yielded before that is raised.
    """
    with ThreadPoolExecutor(1, "reading") as reader, ThreadPoolExecutor(1, "writing") as writer:
        writing: Future[Ended] | None = None
        try:
            for begun in _read_ahead(reader, restorer, jobs):
                start = time.perf_counter()
                restored = _tried(begun.job, begun.read, lambda read, job=begun.job: restorer.restore(read, begin(job)))
                patience = PATIENCE * (time.perf_counter() - start)
                if writing is not None:
                    yield _named(restorer, writing)
                writing = writer.submit(_end, restorer, begun, restored)
                wait([writing], patience)
                if writing.done():
                    done, writing = writing, None
                    yield _named(restorer, done)
        except GeneratorExit:
            raise
        except BaseException:
            if writing is not None:
                yield _named(restorer, writing)
            raise
        if writing is not None:
            yield _named(restorer, writing)


def _read_ahead(reader: ThreadPoolExecutor, restorer: FileRestorer, jobs: Sequence[Job]) -> Iterator[Begun]:
    coming: Future[Begun] | None = None
    for job in jobs:
        following = reader.submit(_begin, restorer, job)
        if coming is not None:
            yield coming.result()
        coming = following
    if coming is not None:
        yield coming.result()


def _begin(restorer: FileRestorer, job: Job) -> Begun:
    # A picture that is changed meanwhile is another at the next run, and is restored again.
    stamp = stamp_of(job.source)
    return Begun(job, stamp, _tried(job, job, lambda job: restorer.read(job.source, job.target)))


def _end(restorer: FileRestorer, begun: Begun, restored: Restored | Failure | None) -> Ended:
    written = _tried(begun.job, restored, restorer.write)
    return Ended(begun.job, written, origin_of(begun.job.source, begun.stamp) if written else None)


def _named(restorer: FileRestorer, writing: Future[Ended]) -> tuple[Job, Done]:
    job, written, origin = writing.result()
    return job, Done(_tried(job, written, restorer.name), origin)


def _tried(job: Job, value: object, call: Callable[[object], T]) -> T | Failure | None:
    """What a step makes of the last one's result, unless that is a failure, or nothing is to be done."""
    if value is None or isinstance(value, Failure):
        return value
    try:
        return call(value)
    except Exception as error:
        failure = failure_of(job, error)
        if failure is None:
            raise
        return failure
