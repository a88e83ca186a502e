"""Whether a value of a config fits the annotation of the argument that takes it, and if not, what is expected.

Understood are plain types, their unions, `Literal`, sequences, tuples, mappings, and numbers `Annotated` with a `Range`
(`dtir.core.ranges`). A class stands for an object of it or for the dict that builds one. Whatever else an annotation
says is not checked.
"""

import inspect
import math
import os
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from dtir.core.ranges import Range

LONGEST_VALUE = 60
SEQUENCES = (list, Sequence, Collection, Iterable, set, frozenset)
MAPPINGS = (dict, Mapping)
WORDS = {
    int: "an integer",
    float: "a number",
    str: "a text",
    bool: "True or False",
    type(None): "None",
    os.PathLike: "a path",
    bytes: "bytes",
    types.FunctionType: "a function",
}


@dataclass(frozen=True)
class Misfit:
    """A value that does not fit.

    Attributes:
        path: Dotted path of the value, that of an element where it is one of a list that does not fit.
        value: The value.
        expected: What is expected in its place, in words.
    """

    path: str
    value: object
    expected: str

    def __str__(self) -> str:
        return f"{self.path} is {shown(self.value)}; expected {self.expected}."


def shown(value: object, longest: int = LONGEST_VALUE) -> str:
    """A value as Python writes it, shortened where it is long."""
    text = repr(value)
    return text if len(text) <= longest else f"{text[:longest]}..."


def misfit(value: object, kind: object, path: str) -> Misfit | None:
    """Compares a value with an annotation.

    Args:
        value: The value, as a config holds it: lists stand for tuples and sets too, integers for numbers.
        kind: The annotation, with its names resolved.
        path: Dotted path of the value.

    Returns:
        The first thing that does not fit, or None.
    """
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        fits = misfit(value, args[0], path) is None and all(value in r for r in args[1:] if isinstance(r, Range))
        return None if fits else Misfit(path, value, describe(kind))
    if origin in (Union, types.UnionType):
        return _of_no_arm(value, kind, path)
    if origin is Literal:
        return None if value in args else Misfit(path, value, describe(kind))
    base = origin or kind
    if base is tuple and args and args[-1] is not Ellipsis:
        return _of_pair(value, kind, path)
    if base in SEQUENCES or base is tuple:
        return _of_sequence(value, kind, path)
    if base in MAPPINGS:
        return _of_mapping(value, kind, path)
    return None if _is_a(value, base) else Misfit(path, value, describe(kind))


def _of_no_arm(value: object, kind: object, path: str) -> Misfit | None:
    found = [misfit(value, arm, path) for arm in get_args(kind)]
    if None in found:
        return None
    # A list whose third element is wrong says more than "expected a list".
    deepest = max(found, key=lambda part: len(part.path))
    return deepest if deepest.path != path else Misfit(path, value, describe(kind))


def _of_pair(value: object, kind: object, path: str) -> Misfit | None:
    kinds = get_args(kind)
    if not isinstance(value, (list, tuple)) or len(value) != len(kinds):
        return Misfit(path, value, describe(kind))
    return _first(misfit(item, kinds[i], f"{path}[{i}]") for i, item in enumerate(value))


def _of_sequence(value: object, kind: object, path: str) -> Misfit | None:
    if not isinstance(value, (list, tuple, set, frozenset)):
        return Misfit(path, value, describe(kind))
    element = (get_args(kind) or (Any,))[0]
    return _first(misfit(item, element, f"{path}[{i}]") for i, item in enumerate(value))


def _of_mapping(value: object, kind: object, path: str) -> Misfit | None:
    if not isinstance(value, Mapping):
        return Misfit(path, value, describe(kind))
    element = (get_args(kind) or (Any, Any))[1]
    return _first(misfit(item, element, f"{path}.{key}") for key, item in value.items())


def _first(found: Iterable[Misfit | None]) -> Misfit | None:
    return next((part for part in found if part is not None), None)


def _is_a(value: object, kind: object) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is None:
        return value is None
    if kind is Callable:
        return callable(value) or isinstance(value, (str, Mapping))
    if not isinstance(kind, type) or kind in (object, Any, inspect.Parameter.empty):
        return True
    if issubclass(kind, os.PathLike):
        return isinstance(value, (str, os.PathLike))
    builds = kind.__module__ not in ("builtins", "torch") and isinstance(value, Mapping)
    return isinstance(value, kind) or builds


def describe(kind: object) -> str:
    """An annotation in words, such as "an integer >= 1 or None"."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return " ".join([describe(args[0]), *(str(part) for part in args[1:] if isinstance(part, Range))])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(arm) for arm in args))
    if origin is Literal:
        return f"one of {', '.join(map(repr, args))}"
    base = origin or kind
    if base is tuple and args and args[-1] is not Ellipsis:
        return f"a list of {len(args)}: {', '.join(describe(arg) for arg in args)}"
    if base in SEQUENCES or base is tuple:
        return f"a list (of {describe(args[0])} each)" if args and args[0] in WORDS else "a list"
    if base in MAPPINGS:
        return "a dict"
    return WORDS.get(base) or _class_in_words(base)


def _class_in_words(kind: object) -> str:
    if kind is Callable:
        return "the name of a function"
    if isinstance(kind, type) and issubclass(kind, os.PathLike):
        return "a path"
    return f"a dict that describes a {getattr(kind, '__name__', kind)}"


def annotations_of(function: typing.Callable) -> dict[str, object]:
    """The annotations of a function's arguments by name, those left out whose names cannot be resolved."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError):
        # Names that are imported for type checkers only.
        found = getattr(function, "__annotations__", {})
        return {name: kind for name, kind in found.items() if not isinstance(kind, str)}
