"""Names of a package that are imported when they are first used, so that the package itself imports at once."""

import importlib
from collections.abc import Callable, Mapping


def lazy_names(package: str, places: Mapping[str, str]) -> Callable[[str], object]:
    """A `__getattr__` of a package (PEP 562).

    Args:
        package: Its `__name__`.
        places: Full name of the module that holds each name.
    """

    def __getattr__(name: str) -> object:  # noqa: N807 - this is the name that PEP 562 gives it.
        if name not in places:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(importlib.import_module(places[name]), name)

    return __getattr__
