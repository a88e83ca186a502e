"""`dtir init`: a project to begin one's own work with."""

import argparse
import importlib.util
import keyword
from pathlib import Path

from dtir.core.assets import ASSETS
from dtir.core.atomic import atomic_write
from dtir.core.errors import ConfigError

HELP = "write a project of your own to begin with"
DESCRIPTION = (
    "Writes a project that trains at once: a backbone, dataset, degradation, metric, regularizer, scheduler, loss and "
    "hook in one small file each, a config, and a test."
)
TEMPLATE = ASSETS / "project"
PLACEHOLDER = "my_project"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `dtir init`."""
    parser.add_argument("folder", metavar="FOLDER", help="new folder; its name is that of the project's Python package")


def run(args: argparse.Namespace) -> int:
    """Runs `dtir init`; returns 0.

    Raises:
        ConfigError: The name is no name of a Python package, or that of an installed one, or the folder holds files
            already.
    """
    folder = Path(args.folder)
    write_project(folder)
    print(f"project: {folder}\nNow: cd {folder} && python -m pytest && dtir train config.py --smoke")
    return 0


def write_project(folder: Path) -> None:
    """Writes the template into a folder, under the folder's name.

    Raises:
        ConfigError: See `run`.
    """
    name = folder.resolve().name
    if not name.isidentifier() or keyword.iskeyword(name):
        plain = "".join(c if c.isalnum() else "_" for c in name)
        example = plain if plain.isidentifier() and not keyword.iskeyword(plain) else f"my_{plain}"
        raise ConfigError(f"'{name}' is no name of a Python package; take letters, digits and _, such as '{example}'.")
    if _is_taken(name):
        raise ConfigError(f"'{name}' is a module that is installed, which the project would hide; take another name.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"'{folder}' is there already and not empty; name a new folder.")
    for source in sorted(path for path in TEMPLATE.rglob("*") if path.suffix in (".py", ".md")):
        target = folder / str(source.relative_to(TEMPLATE)).replace(PLACEHOLDER, name)
        with atomic_write(target, "w", encoding="utf-8") as file:
            file.write(source.read_text(encoding="utf-8").replace(PLACEHOLDER, name))


def _is_taken(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    # A folder without modules, such as one beside the project, is none.
    return spec is not None and spec.origin is not None
