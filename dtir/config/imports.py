"""Modules of people's own, which register classes when they are imported."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from dtir.core.errors import ConfigError


def add_import_folders(*folders: Path) -> None:
    """Has modules be found in the present folder and in these, after whatever is installed."""
    # At the end, so that no installed package is hidden.
    sys.path.extend(name for name in map(str, (Path.cwd(), *folders)) if name not in sys.path)


def import_module(name: str, why: str) -> None:
    """Imports a module of the user's.

    Args:
        name: Dotted name, or the path of a Python file, whose folder is then searched for what it imports itself.
        why: What asked for it, which begins the message of an error.

    Raises:
        ConfigError: It is not found, or fails when it is imported.
    """
    path = Path(name)
    add_import_folders(*([path.resolve().parent] if path.suffix == ".py" else []))
    try:
        module = importlib.import_module(path.stem if path.suffix == ".py" else name)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"{why} {name}: {error}. It must be installed, lie in the present folder or be on PYTHONPATH."
        ) from error
    except Exception as error:
        # A module is a program: whatever it raises is the module's error.
        raise ConfigError(f"{why} {name}: it fails when it is imported: {type(error).__name__}: {error}.") from error
    if path.suffix == ".py" and not _is_of(module, path):
        raise ConfigError(f"{why} {name}: '{path.stem}' is the name of another module already; rename the file.")


def _is_of(module: ModuleType, path: Path) -> bool:
    place = getattr(module, "__file__", None)
    return place is not None and Path(place).resolve() == path.resolve()


def imports_of(custom_imports: object) -> list[str]:
    """The modules that a config's `custom_imports` names."""
    names = custom_imports.get("imports", []) if isinstance(custom_imports, dict) else []
    return [names] if isinstance(names, str) else list(names)


def import_all(names: Sequence[str], why: str) -> None:
    """Imports modules of the user's.

    Raises:
        ConfigError: See `import_module`.
    """
    for name in names:
        import_module(name, why)
