"""The argument `--import MODULE` of every command and tool that builds a model or a metric."""

import argparse


class ImportAction(argparse.Action):
    """Imports the module as soon as the argument is read, so that whatever is built later knows its classes.

    The names are kept in `imports`, for other processes.
    """

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        """Imports; where it fails, the command ends with its usage and exit code 2."""
        from dtir.config.imports import import_module
        from dtir.core.errors import ConfigError

        try:
            import_module(values, "--import")
        except ConfigError as error:
            parser.error(str(error))
        namespace.imports = [*namespace.imports, values]


def add_import_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--import MODULE`, which may be given several times."""
    parser.add_argument(
        "--import",
        dest="imports",
        default=[],
        action=ImportAction,
        metavar="MODULE",
        help="Python module or file to import first: one with classes of your own, as in custom_imports of the config; "
        "may be given several times",
    )
