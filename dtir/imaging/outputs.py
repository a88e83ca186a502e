"""Files of pictures that appear whole or not at all, and in words why not."""

import contextlib
import os
from collections.abc import Iterator
from typing import IO

from dtir.core.atomic import atomic_write
from dtir.core.errors import ImageFileError


@contextlib.contextmanager
def output_file(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """Opens an output to be written and read; it gets its name when the block ends without an error.

    Raises:
        ImageFileError: The folder cannot be written to, or the disk is full.
    """
    try:
        with atomic_write(path, "w+b") as file:
            yield file
    except OSError as error:
        raise cannot_write(path, error.strerror or error) from error


def cannot_write(path: str | os.PathLike, reason: object) -> ImageFileError:
    """Says that an output is not written, and what to look at."""
    return ImageFileError(
        f"cannot write '{path}': {reason}. Nothing was written; check that the folder may be "
        "written to and that the disk has room."
    )
