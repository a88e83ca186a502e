"""Paths as callers give them."""

import os
from pathlib import Path

from dtir.core.errors import ConfigError


def as_path(path: object) -> Path:
    """A path from a text, a `pathlib.Path`, or the bytes of a name.

    Raises:
        ConfigError: It is something else, such as a number or None.
    """
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"a path is {path!r} ({type(path).__name__}); expected a text or a pathlib.Path.")
    return Path(path)
