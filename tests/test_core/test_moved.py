"""Modules under their old names."""

import importlib
import sys

import pytest

from dtir.core.moved import MOVED


@pytest.mark.parametrize(("old", "new"), sorted(MOVED.items()))
def test_the_old_name_is_the_same_module(old, new, monkeypatch):
    monkeypatch.delitem(sys.modules, old, raising=False)
    spec = importlib.import_module(new).__spec__
    with pytest.warns(FutureWarning, match=f"{old} is now {new}"):
        module = importlib.import_module(old)

    assert module is importlib.import_module(new)
    assert module.__spec__ is spec
    assert module.__name__ == new


def test_a_name_out_of_the_old_package(monkeypatch):
    monkeypatch.delitem(sys.modules, "dtir.utils.errors", raising=False)
    with pytest.warns(FutureWarning, match="is now dtir"):
        from dtir.utils.errors import ConfigError

    from dtir.core import errors

    assert ConfigError is errors.ConfigError


def test_an_unknown_name_is_unknown():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("dtir.utils.nothing")
