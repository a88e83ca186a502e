"""Which part of a config an error is of, where it comes up as the part is built."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mmengine.config import Config
from mmengine.registry import build_from_cfg

from dtir.config.values import shown
from dtir.core.errors import ConfigError, DtirError

LONGEST_PART = 200
LIBRARIES = ("torch", "torchvision", "mmengine", "mmcv", "numpy")


@contextmanager
def blamed(cfg: Mapping, filename: str | None = None) -> Iterator[None]:
    """Has errors of what a config describes say which part of it they are of, by its dotted path.

    An error while a part is built by a registry, whatever class it is of, is one of the config: the check of values
    knows what annotations say, and a constructor knows more, such as numbers that do not go together.

    Args:
        cfg: The config.
        filename: Its name in the message; by default that of the config.

    Raises:
        ConfigError: A part cannot be built. Errors of dtir stay of their kind, and get the path in front.
    """
    try:
        yield
    except Exception as error:
        part = _part_of(error)
        if part is None:
            raise
        place = f"{filename or getattr(cfg, 'filename', None) or 'config'}: {_path_of(part, cfg)}"
        if isinstance(error, DtirError):
            raise type(error)(f"{place}: {error}") from error
        raise ConfigError(
            f"{place} cannot be built as {shown(dict(part), LONGEST_PART)}: {type(error).__name__}: {error} "
            f"({line_of(error)})"
        ) from error


def _part_of(error: Exception) -> Mapping | None:
    """The config of the innermost part that was being built."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code is build_from_cfg.__code__]
    return frames[-1].f_locals["cfg"] if frames else None


def line_of(error: Exception) -> str:
    """File and line where an error came up: of the program that called a library, not within the library."""
    places = [
        (frame.f_globals.get("__name__", ""), frame, line) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    own = [place for place in places if place[0].partition(".")[0] not in LIBRARIES]
    _, frame, line = (own or places)[-1]
    return f"{frame.f_code.co_filename}:{line}"


def _path_of(part: Mapping, cfg: Mapping) -> str:
    found = next((path for path, node in _nodes(cfg, "") if _is_of(part, node)), None)
    return found or str(part.get("type", "a part"))


def _nodes(node: object, path: str) -> Iterator[tuple[str, Mapping]]:
    if isinstance(node, (Mapping, Config)):
        if path:
            yield path, node
        for key, value in node.items():
            yield from _nodes(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _nodes(value, f"{path}[{index}]")


def _is_of(part: Mapping, node: Mapping) -> bool:
    # What builds a part may add arguments, and name the class that a config leaves out.
    return bool(node) and all(key in part and part[key] == value for key, value in node.items())
