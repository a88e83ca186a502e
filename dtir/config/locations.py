"""Where configs lie: files, and `package::path` for those that come with a package, `dtir::dtir/nafnet_10task.py`.

mmengine has this form too, but finds packages through `pkg_resources`, which setuptools no longer has.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config

from dtir.core.errors import ConfigError

MARK = "::"
# In a package's folder, or beside it in a checkout of its repository.
FOLDERS = ("configs", ".mim/configs", "../configs")
BOM = b"\xef\xbb\xbf"


def config_root(package: str = "dtir") -> Path:
    """The folder of the configs that come with a package.

    Raises:
        ConfigError: The package is not installed, or has none.
    """
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"'{package}{MARK}': no package '{package}' is installed.")
    home = Path(spec.submodule_search_locations[0])
    for folder in FOLDERS:
        if (home / folder).is_dir():
            return (home / folder).resolve()
    raise ConfigError(f"'{package}{MARK}': the package '{package}' comes without configs.")


def locate(name: str | Path, folder: Path | None = None) -> Path:
    """The file that a config's name stands for.

    Args:
        name: `package::path`, or a path.
        folder: Where a relative path begins; the present folder by default.

    Raises:
        ConfigError: See `config_root`.
    """
    package, mark, inside = str(name).partition(MARK)
    if mark:
        return config_root(package) / inside
    return Path(name) if folder is None else folder / name


@contextmanager
def located_bases(path: Path) -> Iterator[Path]:
    """Has mmengine find the bases of a config as `locate` does, and read files that begin with a byte-order mark.

    Args:
        path: The config.

    Yields:
        The file for mmengine to read: the config itself, or a copy of it without the mark.
    """
    found = Config._get_cfg_path
    originals: dict[str, Path] = {}
    with tempfile.TemporaryDirectory() as folder:

        def without_mark(file: Path) -> Path:
            content = file.read_bytes()
            if not content.startswith(BOM):
                return file
            copy = Path(folder) / str(len(originals)) / file.name
            copy.parent.mkdir()
            copy.write_bytes(content.removeprefix(BOM))
            originals[str(copy)] = file
            return copy

        def find(base: str, filename: str) -> tuple[str, None]:
            original = originals.get(filename, Path(filename))
            return str(without_mark(locate(base, original.parent))), None

        # The one function of mmengine that turns the name of a base into a path.
        Config._get_cfg_path = staticmethod(find)
        try:
            yield without_mark(path)
        finally:
            Config._get_cfg_path = staticmethod(found)
