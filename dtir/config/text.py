"""A config's text, which a run writes into its log, its folder and every checkpoint."""

import math
import os
from collections.abc import Mapping
from enum import Enum
from keyword import iskeyword

import numpy as np
from mmengine.config import Config

from dtir.core.errors import ConfigError

WIDTH = 120
INDENT = 4


class TextConfig(Config):
    """A config whose text is laid out here: mmengine's takes ten seconds and more of a long config."""

    @classmethod
    def of(cls, config: Config) -> "TextConfig":
        """The same config, its values shared."""
        kept = cls.__new__(cls)
        kept.__setstate__(config.__getstate__())
        return kept

    @property
    def pretty_text(self) -> str:
        """The config as Python, see `config_text`."""
        return config_text(self.to_dict())


def config_text(settings: Mapping[str, object]) -> str:
    """Settings as Python, a statement for each key, in the order of the alphabet; of a dict, `type` comes first.

    What fits into a line stands in one; dicts are written as `dict(key=value)` where their keys are names. A class or a
    function becomes its name with its module's, by which registries find it; a path its text; a number of numpy's or of
    an enumeration a plain one.

    Raises:
        ConfigError: A key of the settings is no name, or a value is of a type that no text stands for.
    """
    for key in settings:
        if not _is_name(key):
            raise ConfigError(f"the config's key {key!r} is no name of Python; give it another one.")
    return "".join(f"{key} = {_text(settings[key], 0, len(key) + 3)}\n" for key in sorted(settings))


def _text(value: object, indent: int, used: int) -> str:
    """A value whose first line begins after `used` characters, and whose last ends at `indent`."""
    brackets, items = _parts(value)
    if not items:
        return brackets or _plain_text(value)
    line = brackets[:-1] + ", ".join(before + _text(item, 0, -(10**9)) for before, item in items) + brackets[-1]
    if isinstance(value, tuple) and len(value) == 1:
        line = f"{line[:-1]},)"
    # A comma may follow.
    if used + len(line) < WIDTH:
        return line
    deeper = indent + INDENT
    rows = [before + _text(item, deeper, deeper + len(before)) for before, item in items]
    return f"{brackets[:-1]}\n" + "".join(f"{' ' * deeper}{row},\n" for row in rows) + f"{' ' * indent}{brackets[-1]}"


def _parts(value: object) -> tuple[str, list[tuple[str, object]]]:
    """The brackets of a value, and what stands in them: before each item, and the item."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (key != "type", str(key)))
        if all(map(_is_name, keys)):
            return "dict()", [(f"{key}=", value[key]) for key in keys]
        return "{}", [(f"{key!r}: ", value[key]) for key in keys]
    if isinstance(value, list | tuple):
        return "[]" if isinstance(value, list) else "()", [("", item) for item in value]
    return "", []


def _is_name(key: object) -> bool:
    return isinstance(key, str) and key.isidentifier() and not iskeyword(key)


def _plain_text(value: object) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if callable(value) and hasattr(value, "__qualname__"):
        value = f"{value.__module__}.{value.__qualname__}"
    if value is None or isinstance(value, str | bytes | bool | int | float | complex | set | frozenset | slice):
        return repr(value)
    raise ConfigError(
        f"a config has the value {value!r} of type {type(value).__name__}, which cannot be written as text."
    )
