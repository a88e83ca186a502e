"""A folder for the pictures of one run of the page, which does not outlive it."""

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX, _LOCK = "dtir-app-", "lock"


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """Yields a new folder that nobody else may read, and removes it when the block ends.

    Those of runs that were killed are removed first.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        with (folder / _LOCK).open("wb") as lock:
            # Held as long as the process lives, so that another run can tell the folder from an abandoned one.
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    for lock in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        # Not to be opened where it is another user's, not to be had where its run is alive.
        with contextlib.suppress(OSError), lock.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent)
