"""A config's text, which a run writes into its log, its folder and every checkpoint."""

from collections.abc import Mapping
from keyword import iskeyword

from mmengine.config import Config

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
        """The config as Python."""
        return config_text(self.to_dict())


def config_text(settings: Mapping[str, object]) -> str:
    """Settings as Python, a statement for each key, in the order of the alphabet; of a dict, `type` comes first.

    What fits into a line stands in one; dicts are written as `dict(key=value)` where their keys are names.
    """
    return "".join(f"{key} = {_text(settings[key], 0, len(key) + 3)}\n" for key in sorted(settings))


def _text(value: object, indent: int, used: int) -> str:
    """A value whose first line begins after `used` characters, and whose last ends at `indent`."""
    brackets, items = _parts(value)
    if not items:
        return brackets if isinstance(value, dict | list | tuple) else repr(value)
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
        if all(isinstance(key, str) and key.isidentifier() and not iskeyword(key) for key in keys):
            return "dict()", [(f"{key}=", value[key]) for key in keys]
        return "{}", [(f"{key!r}: ", value[key]) for key in keys]
    if isinstance(value, list | tuple):
        return "[]" if isinstance(value, list) else "()", [("", item) for item in value]
    return "", []
