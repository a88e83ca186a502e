"""The rooms of the package: imports run one way, and no two rooms import each other."""

import ast
from collections.abc import Iterator
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
        ("adaptation", "guided"),
        ("archive", "export"),
        ("models",),
        ("published",),
        ("restoring",),
    ),
}
ROOMS = [(package, room) for package, layers in LAYERS.items() for rooms in layers for room in rooms]


def path_of(module: str) -> Path:
    """The file or folder of a module."""
    folder = SOURCE.joinpath(*module.split("."))
    return folder if folder.is_dir() else folder.with_suffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Full dotted names of what a file of the package imports from it, inside of functions too."""
    package = path.relative_to(SOURCE).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (start, node.module) if part)
            yield from (f"{base}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", LAYERS)
def test_every_room_has_its_place(package):
    rooms = {
        path.stem
        for path in path_of(package).iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").is_file()
    }

    assert rooms == {room for one, room in ROOMS if one == package}


@pytest.mark.parametrize(("package", "room"), ROOMS)
def test_imports_run_down(package, room):
    rank = {name: number for number, names in enumerate(LAYERS[package]) for name in names}
    path = path_of(f"{package}.{room}")
    upward = [
        f"{file.relative_to(SOURCE)} imports {module}"
        for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])
        for module in imports(file)
        if module.startswith(f"{package}.")
        # What is no room is a name of the package itself, above them all.
        for other in [module.removeprefix(f"{package}.").split(".")[0]]
        if other != room and rank.get(other, -1) <= rank[room]
    ]

    assert upward == []
