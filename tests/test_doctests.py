"""The examples in the docstrings of metrics, operators, schedulers and samplers are right."""

import doctest
import importlib
import pkgutil

import pytest

PACKAGES = (
    "dtir.evaluation.metrics",
    "dtir.diffusion.operators",
    "dtir.diffusion.schedulers",
    "dtir.diffusion.samplers",
)


def modules_with_examples(package: str) -> list:
    path = importlib.import_module(package).__path__
    found = [importlib.import_module(info.name) for info in pkgutil.iter_modules(path, f"{package}.")]
    finder = doctest.DocTestFinder()
    return [module for module in found if any(test.examples for test in finder.find(module))]


@pytest.mark.parametrize("package", PACKAGES)
def test_examples(package):
    modules = modules_with_examples(package)
    assert modules, f"no docstring of {package} has an example"
    failed = [module.__name__ for module in modules if doctest.testmod(module).failed]
    assert failed == []
