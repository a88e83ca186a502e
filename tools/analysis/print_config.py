"""Prints what a config amounts to, checked, with the files that each key comes from.

The output without its comments is a config of the same meaning.
"""

import argparse
import sys
from pathlib import Path

from dtir.cli import exit_code
from dtir.cli.importing import add_import_argument
from dtir.cli.launching import load_config
from dtir.config.files import config_chain, key_origins
from dtir.config.text import config_text
from dtir.core.errors import ConfigError


def describe(path: str, options: list[str]) -> str:
    """Returns the resolved config as Python text, each top-level key under a comment with its origin.

    Raises:
        ConfigError: See `dtir.cli.launching.load_config`.
    """
    cfg = load_config(path, options)
    origins = key_origins(path)
    overridden = {option.split("=")[0].split(".")[0] for option in options}
    lines = ["# Files, later ones override earlier ones:", *(f"#   {_shown(file)}" for file in config_chain(path))]
    for key in sorted(cfg):
        sources = [_shown(file) for file in origins.get(key, ())]
        sources += ["--cfg-options"] if key in overridden else []
        text = config_text({key: cfg.to_dict()[key]}).strip()
        lines += ["", f"# from {', '.join(sources) or 'default'}", text]
    return "\n".join(lines)


def _shown(file: Path) -> str:
    file, here = file.resolve(), Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)


def main() -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", metavar="CONFIG", help="config file")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="set keys by dotted path")
    add_import_argument(parser)
    args = parser.parse_args()
    try:
        print(describe(args.config, args.cfg_options))
    except ConfigError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
