"""Reading config files: the chain of `_base_` files, with errors that name file and line."""

import ast
import io
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from dtir.config.imports import add_import_folders
from dtir.config.locations import locate, located_bases
from dtir.config.options import read_options
from dtir.config.values import shown
from dtir.core.errors import ConfigError
from dtir.core.names import nearest_name

SUFFIXES = (".py", ".json", ".yaml", ".yml")


def config_chain(path: str | Path) -> list[Path]:
    """Returns the files that a config is made of, bases before those that build on them, `path` last.

    Raises:
        ConfigError: A file is missing or has a syntax error, or a config is its own base.
    """
    path = locate(path)
    _require_file(path, f"config '{path}' does not exist.")
    return _chain(path, ())


def read_config(path: str | Path, options: Sequence[str] = ()) -> Config:
    """Reads a config with its bases, imports its `custom_imports`, and applies `key=value` options.

    The name of the config and of each base may be `dtir::path`, a config that comes with dtir. Modules in the present
    folder and beside the config can be named in `custom_imports`.

    Raises:
        ConfigError: A file is missing, is no valid config, or names a module that cannot be imported; or an option
            cannot be applied.
    """
    path = config_chain(path)[-1]
    add_import_folders(path.resolve().parent)
    try:
        with located_bases(path) as file:
            cfg = Config.fromfile(file)
    except Exception as error:
        # A config is a program: whatever it raises is the config's error.
        raise ConfigError(f"{path}: {_describe(error, Path(path))}") from error
    return _merge(cfg, options, path) if options else cfg


def key_origins(path: str | Path) -> dict[str, list[Path]]:
    """Returns for each top-level key the files of the chain that assign it, in the order in which they apply."""
    origins: dict[str, list[Path]] = {}
    for file in config_chain(path):
        for name in _assigned_names(file):
            origins.setdefault(name, []).append(file)
    return origins


def _chain(path: Path, below: tuple[Path, ...]) -> list[Path]:
    if path.resolve() in below:
        raise ConfigError(f"{path}: the config is its own base, through {' -> '.join(str(file) for file in below)}.")
    files: list[Path] = []
    for base in _bases(path):
        file = locate(base, path.parent)
        _require_file(file, f"{path}: the base config '{base}' does not exist ({file}).")
        files += [part for part in _chain(file, (*below, path.resolve())) if part not in files]
    return [*files, path]


def _require_file(path: Path, problem: str) -> None:
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"'{path}' is no config; a config ends in {', '.join(SUFFIXES)}.")
    if not path.is_file():
        names = [file.name for file in path.parent.glob("*") if file.suffix in SUFFIXES] if path.parent.is_dir() else []
        near = nearest_name(path.name, names)
        raise ConfigError(problem + (f" Did you mean '{path.parent / near}'?" if near else ""))


def _bases(path: Path) -> list[str]:
    value = _base_in_python(path) if path.suffix == ".py" else _load_data(path).get("_base_", [])
    bases = [value] if isinstance(value, str) else value
    if not isinstance(bases, (list, tuple)) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"{path}: _base_ is {value!r}; expected the name of a config, or a list of such.")
    return list(bases)


def _base_in_python(path: Path) -> object:
    assigned = [node.value for node in _parse(path).body if _assigns(node, "_base_")]
    try:
        return ast.literal_eval(assigned[-1]) if assigned else []
    except ValueError as error:
        # mmengine reads it without running the config, too.
        raise ConfigError(f"{path}:{assigned[-1].lineno}: _base_ must be written out, as texts.") from error


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8-sig"), str(path))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}{_line_of(error)}: not valid Python: {_message(error)}.") from error


def _load_data(path: Path) -> dict:
    import mmengine

    try:
        # Without the byte-order mark that some editors begin a file with.
        data = mmengine.load(io.StringIO(path.read_text(encoding="utf-8-sig")), file_format=path.suffix[1:])
    except Exception as error:
        # json and yaml have no error class in common.
        raise ConfigError(f"{path}: not a valid {path.suffix} file: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds {shown(data)}; expected keys with values, as in a dict.")
    return data


def _assigns(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets)


def _assigned_names(path: Path) -> list[str]:
    if path.suffix != ".py":
        return list(_load_data(path))
    statements = [node for node in _parse(path).body if isinstance(node, ast.Assign)]
    return [target.id for node in statements for target in node.targets if isinstance(target, ast.Name)]


def _line_of(error: Exception) -> str:
    return f":{error.lineno}" if getattr(error, "lineno", None) else ""


def _message(error: Exception) -> str:
    return getattr(error, "msg", None) or str(error)


def _describe(error: Exception, path: Path) -> str:
    if isinstance(error, ImportError) and error.__cause__ is not None:
        return (
            f"custom_imports: {error.__cause__}. The module must be installed, lie in the present folder or beside "
            "the config, or be on PYTHONPATH; if it is, it fails when it is imported: try `python -c 'import ...'`."
        )
    lines = [
        frame for frame in _frames(error) if Path(frame[0]).suffix in SUFFIXES and Path(frame[0]) == path.resolve()
    ]
    place = f" (line {lines[-1][1]})" if lines else ""
    return f"{type(error).__name__}{place}: {error}"


def _frames(error: Exception) -> list[tuple[str, int]]:
    trace, frames = error.__traceback__, []
    while trace is not None:
        frames.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    return frames


def _merge(cfg: Config, options: Sequence[str], path: str | Path) -> Config:
    try:
        cfg.merge_from_dict(read_options(options))
    except (KeyError, TypeError, IndexError, AttributeError, AssertionError, ValueError) as error:
        raise ConfigError(f"{path}: --cfg-options {' '.join(options)} cannot be applied: {_message(error)}") from error
    return cfg
