"""The rooms of the package: imports run one way, and no two rooms import each other."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import dtir

SOURCE = Path(dtir.__file__).parents[1]
# By package, its rooms from the top down; a room may import from the lines below its own, and a line may hold several
# rooms apart.
LAYERS = {
    "dtir": (
        ("testing",),
        ("cli",),
        ("app",),
        ("apis",),
        ("engine",),
        ("evaluation", "regularizers"),
        ("models", "datasets"),
        ("diffusion",),
        ("config", "imaging", "language", "measure"),
        ("tasks",),
        ("core", "registry"),
        ("version",),
    ),
    "dtir.apis": (
        ("shortcut",),
        ("inferencer",),
        ("loading",),
        ("adaptation", "guided"),
        ("archive", "export"),
        ("models",),
        ("published",),
        ("restoring",),
    ),
}
ROOMS = [(package, room) for package, rooms in LAYERS.items() for line in rooms for room in line]
PACKAGES = sorted(".".join(path.parent.relative_to(SOURCE).parts) for path in SOURCE.glob("dtir/**/__init__.py"))


@cache
def imports(path: Path) -> list[str]:
    """Full dotted names of what a file of the package imports, inside of functions too."""
    return list(imported(path))


def imported(path: Path) -> Iterator[str]:
    """As `imports`, one after the other."""
    package = path.relative_to(SOURCE).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (start, node.module) if part)
            yield from (f"{base}.{alias.name}" for alias in node.names)


@cache
def uses(package: str) -> list[tuple[str, str, str]]:
    """Part, other part that it imports, and where and what, of a package's modules and sub-packages."""
    folder, found = SOURCE.joinpath(*package.split(".")), []
    for path in sorted(folder.rglob("*.py")):
        part = path.relative_to(folder).parts[0].removesuffix(".py")
        inside = (module for module in imports(path) if module.startswith(f"{package}.") and part != "__init__")
        for module in inside:
            # What is no part is a name of the package itself.
            other = module.removeprefix(f"{package}.").split(".")[0]
            found.append((part, other, f"{path.relative_to(SOURCE)} imports {module}"))
    return [(part, other, where) for part, other, where in found if part != other]


@pytest.mark.parametrize("package", LAYERS)
def test_every_room_has_its_place(package):
    rooms = {
        path.stem
        for path in SOURCE.joinpath(*package.split(".")).iterdir()
        if (path.suffix == ".py" and path.stem not in ("__init__", "__main__")) or (path / "__init__.py").is_file()
    }

    assert rooms == {room for one, room in ROOMS if one == package}


@pytest.mark.parametrize(("package", "room"), ROOMS)
def test_imports_run_down(package, room):
    rank = {name: number for number, names in enumerate(LAYERS[package]) for name in names}
    # The package itself is above all.
    upward = [where for part, other, where in uses(package) if part == room and rank.get(other, -1) <= rank[room]]

    assert upward == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_parts_import_each_other_in_a_circle(package):
    graph: dict[str, set[str]] = {}
    for part, other, _ in uses(package):
        graph.setdefault(part, set()).add(other)

    # It raises CycleError, which names the circle.
    TopologicalSorter(graph).prepare()
