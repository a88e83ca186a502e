"""Values of `--cfg-options KEY=VALUE`: Python's own where they are such, otherwise in mmengine's short syntax."""

import ast
from collections.abc import Sequence

from mmengine.config import DictAction

from dtir.core.errors import ConfigError

# What begins a list, a dict or a quoted text, and not mmengine's `a,b` or `(a,b)`.
_PYTHON = ("[", "{", "'", '"', "dict(")
_SEVERAL = frozenset("[](),")


def read_options(options: Sequence[str]) -> dict[str, object]:
    """Reads `key=value` texts.

    Lists, dicts (also as `dict(type='Adam', lr=1)`) and quoted texts are Python's. Without quotes, a value is a number,
    True, False, None, a text, or a list of such: `a,b`, `[a,b]`, or a tuple `(a,b)`.

    Returns:
        Values by key, in their order.

    Raises:
        ConfigError: An option has no `=`, or brackets that do not match.
    """
    return dict(_option(text) for text in options)


def _option(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--cfg-options takes key=value, got '{text}'.")
    return key, _value(value.strip(), text)


def _value(value: str, option: str) -> object:
    if value.startswith(_PYTHON):
        try:
            return _literal(ast.parse(value, mode="eval").body)
        except (ValueError, SyntaxError):
            # Such as [a,b].
            pass
    if not _SEVERAL & set(value):
        # Not through the syntax of lists, which drops spaces.
        return DictAction._parse_int_float_bool(value)
    try:
        return DictAction._parse_iterable(value)
    except (AssertionError, RecursionError) as error:
        raise ConfigError(
            f"--cfg-options {option}: its brackets or quotes do not match; put quotes inside of lists and dicts, and "
            "the whole in quotes of the shell: \"key=[dict(type='PSNR'), 3]\"."
        ) from error


def _literal(node: ast.expr) -> object:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return {keyword.arg: _literal(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(item) for item in node.elts] if isinstance(node, ast.List) else tuple(map(_literal, node.elts))
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_literal(key): _literal(value) for key, value in zip(node.keys, node.values, strict=True)}
    return ast.literal_eval(node)
