"""Writing a file so that a reader sees either the old content or the new, never a part."""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from dtir.core.errors import ConfigError

# The mask is known only by setting it, for all threads.
_ASKING = threading.Lock()
# What file systems without locks answer, such as some of networks and of FUSE.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
# As `tempfile.mkstemp` makes them.
_TEMPORARY = re.compile(r"\.(.+)\.[a-z0-9_]{8}\.tmp")
# Bytes that file systems allow a name, less those that a temporary one has beside it.
_LONGEST = 255 - len("..12345678.tmp")


@contextlib.contextmanager
def atomic_write(path: str | Path, mode: str = "wb", encoding: str | None = None) -> Iterator[IO]:
    """Opens a temporary file beside `path` and renames it to `path` when the block ends without an error.

    Args:
        path: The file to write; its folder is made if needed.
        mode: "wb" or "w".
        encoding: Text encoding, for mode "w".

    Raises:
        OSError: The folder cannot be written or the disk is full; `path` is then as it was before.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{temporary_stem(path.name)}.", suffix=".tmp")
    try:
        # Some file systems of other systems have no rights to set.
        with contextlib.suppress(PermissionError):
            os.fchmod(handle, 0o666 & ~_umask())
        with os.fdopen(handle, mode, encoding=encoding) as file:
            # Held until the file has its name, so that another run can tell it from what a killed one has left.
            _lock(file)
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def append_line(path: str | Path, line: bytes) -> None:
    """Appends a line to a file that other processes append to as well, on other machines too; makes the file.

    The line is written whole, beside nobody else's, and not to the end of one that a killed process left unfinished;
    on a file system without locks by one call of the system, which keeps lines of one machine apart.

    Args:
        path: The file.
        line: With its line end; or nothing.

    Raises:
        OSError: It cannot be written.
    """
    with open(path, "a+b") as file:
        # Ends with the file's closing. A network file system shows another machine's lines once the lock is held.
        _lock(file)
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            line = b"\n" * (line != b"" and file.read(1) != b"\n") + line
        file.write(line)


def temporary_stem(name: str) -> str:
    """What a temporary file of a file's name is called by: that name or, if it leaves no room, its start and hash."""
    if len(os.fsencode(name)) <= _LONGEST:
        return name
    return f"{name[:50]}.{hashlib.blake2b(os.fsencode(name), digest_size=8).hexdigest()}"


def temporary_of(name: str) -> str | None:
    """The `temporary_stem` that a temporary file of `atomic_write` has; None for other names."""
    found = _TEMPORARY.fullmatch(name)
    return found and found[1]


def remove_abandoned(temporary: Path) -> None:
    """Removes a temporary file of `atomic_write`, unless a process is still writing it, or nobody can tell."""
    with contextlib.suppress(FileNotFoundError, BlockingIOError), open(temporary, "rb") as file:
        if _lock(file, fcntl.LOCK_NB):
            temporary.unlink()


def _lock(file: IO, flags: int = 0) -> bool:
    """Locks a file until it is closed; returns whether its file system has locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | flags)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def require_writable(path: str | Path, name: str) -> None:
    """Refuses an output file that could not be written, before the work that it is for.

    Args:
        path: The file.
        name: What the user calls it, such as "--out".

    Raises:
        ConfigError: It is a folder, or its folder cannot be made or written.
    """
    path = Path(path)
    if path.is_dir():
        raise ConfigError(f"{name} {path} is a folder; name a file in it, such as {path / 'out.json'}.")
    require_writable_folder(path.parent, f"{name} {path}: folder")


def require_writable_folder(path: str | Path, name: str) -> None:
    """Refuses a folder of outputs that could not be made or written; makes it.

    Raises:
        ConfigError: It is a file, lies in one, or cannot be made or written; the message begins with `name`.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except FileExistsError:
        raise ConfigError(f"{name} {path} is a file; name a folder.") from None
    except OSError as error:
        raise ConfigError(f"{name} {path} cannot be written: {error.strerror}. Name another folder.") from error


def _umask() -> int:
    with _ASKING:
        mask = os.umask(0)
        os.umask(mask)
    return mask


def atomic_save(obj: Any, path: str | Path) -> None:
    """`torch.save` through `atomic_write`."""
    import torch

    with atomic_write(path) as file:
        torch.save(obj, file)
