"""One picture tried: what became of it, and which file exactly it was made from."""

import os
from pathlib import Path
from typing import NamedTuple

from dtir.apis.archive.folder import Failure, Job, RestoreOne
from dtir.apis.restoring.wish import OnTile
from dtir.core.digests import file_sha256
from dtir.core.errors import DtirError


class Origin(NamedTuple):
    """What tells an input from another that has its name.

    Attributes:
        sha256: Of its content, hexadecimal; None where it could not be read.
        size: In bytes; None where there is none.
        mtime_ns: When it was changed last, before it was restored, in nanoseconds.
    """

    sha256: str | None = None
    size: int | None = None
    mtime_ns: int | None = None


class Done(NamedTuple):
    """What became of a picture.

    Attributes:
        result: A `Failure`, something false where the output existed and stays, or what was done.
        origin: Origin of the input; None where nothing was done.
    """

    result: object
    origin: Origin | None = None


def attempt(restore_one: RestoreOne, job: Job, on_tile: OnTile) -> Done:
    """Restores a picture, of which an error is a `Failure`; whoever restores it also reads it for its hash.

    Raises:
        Exception: What is no error of the picture or its files, but of the program.
    """
    # A picture that is changed meanwhile is another at the next run, and is restored again.
    stamp = stamp_of(job.source)
    try:
        result = restore_one(job.source, job.target, on_tile)
    except Exception as error:
        result = failure_of(job, error)
        if result is None:
            raise
    return Done(result, origin_of(job.source, stamp) if result else None)


def failure_of(job: Job, error: Exception) -> Failure | None:
    """What an error says of a picture; None for an error of the program, which is not to be passed over."""
    if not isinstance(error, DtirError | OSError | MemoryError):
        return None
    return Failure(job.source, str(error) or type(error).__name__)


def stamp_of(path: Path) -> tuple[int | None, int | None]:
    """Size and time of change of a file, None where it is not there."""
    try:
        stat = os.stat(path)
    except OSError:
        return None, None
    return stat.st_size, stat.st_mtime_ns


def origin_of(path: Path, stamp: tuple[int | None, int | None]) -> Origin:
    """The origin of a file that had this stamp."""
    try:
        return Origin(file_sha256(path), *stamp)
    except OSError:
        return Origin(None, *stamp)
