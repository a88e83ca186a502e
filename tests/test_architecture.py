"""The rooms of the package: imports run one way, and no two rooms import each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import dtir

PACKAGE = Path(dtir.__file__).parent
# From the top down; a room may import from the lines below its own, and a line may hold several rooms apart.
LAYERS = (
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
)
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}


def room_of(module: str) -> str:
    """The second part of a dotted name: 'models' of 'dtir.models.losses'."""
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> Iterator[str]:
    """Full dotted names of what a file of the package imports from it, inside of functions too."""
    package = ("dtir", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (start, node.module) if part)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def rooms() -> list[str]:
    return sorted(
        path.stem
        for path in PACKAGE.iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").is_file()
    )


def test_every_room_has_its_place():
    assert rooms() == sorted(RANK)


@pytest.mark.parametrize("room", rooms())
def test_imports_run_down(room):
    files = [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").is_file() else sorted((PACKAGE / room).rglob("*.py"))
    upward = [
        f"{path.relative_to(PACKAGE)} imports {module}"
        for path in files
        for module in imports(path)
        if module.startswith("dtir.") and room_of(module) != room and RANK[room_of(module)] <= RANK[room]
    ]

    assert upward == []
