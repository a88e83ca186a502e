"""What tells a file's content from any other."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_BLOCK = 1 << 20


def blocks(file: IO[bytes]) -> Iterator[bytes]:
    """The rest of a file, a megabyte at a time."""
    return iter(lambda: file.read(_BLOCK), b"")


def file_sha256(path: str | Path) -> str:
    """The SHA-256 of a file, hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in blocks(file):
            digest.update(block)
    return digest.hexdigest()
