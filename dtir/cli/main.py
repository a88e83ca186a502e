"""The `dtir` command: finds the sub-command and turns errors into exit codes."""

import argparse
import contextlib
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from dtir.cli.output import print_error
from dtir.core.errors import DtirError
from dtir.core.names import did_you_mean
from dtir.version import __version__

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130

# A module of this package each: HELP, DESCRIPTION, add_arguments(parser), run(args) -> exit code.
COMMANDS = (
    "restore",
    "app",
    "models",
    "export",
    "guide",
    "train",
    "test",
    "eval",
    "compare",
    "report",
    "adapt",
    "configs",
    "init",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        Exit code: 0 all done, 1 some pictures failed, 2 an error of the user's, 130 interrupted.
    """
    # A byte of a file's name that is no UTF-8 is shown escaped.
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = build_parser()
    words = sys.argv[1:] if argv is None else argv
    if not words:
        parser.print_help()
        return 0
    if not words[0].startswith("-") and words[0] not in COMMANDS:
        parser.error(f"no command '{words[0]}'.{did_you_mean(words[0], COMMANDS)} dtir --help lists them.")
    args = parser.parse_args(words)
    return exit_code(lambda: args.run(args))


def exit_code(run: Callable[[], int | None]) -> int:
    """Runs a program, and turns errors that are the user's to mend into a line and an exit code.

    Returns:
        As of `main`.
    """
    try:
        return run() or 0
    except DtirError as error:
        print_error(f"Error: {_message(error)}")
        return EXIT_ERROR
    except OSError as error:
        # What a disk, a folder's rights or a path that cannot be makes fail, wherever it does.
        place = f"'{error.filename}': " if error.filename else ""
        print_error(f"Error: {place}{error.strerror or _message(error)}.")
        return EXIT_ERROR
    except KeyboardInterrupt:
        print_error("Interrupted. Files written so far are complete.")
        return EXIT_INTERRUPTED


def _message(error: DtirError | OSError) -> str:
    """What an error says, without the traceback that torch puts before what a data loader's worker raised."""
    text = str(error)
    if not text.startswith("Caught ") or "Traceback" not in text:
        return text
    # Of errors that led to one another the last, whose line begins with its name; its text may have that name too.
    return re.split(rf"^(?:[\w.]+\.)?{type(error).__name__}: ", text, flags=re.MULTILINE)[-1].strip()


def main_of_a_tool(command: str) -> None:
    """Runs a command with the arguments of the command line, and ends the process.

    One of several processes ends without the interpreter's end: gloo's threads may abort in it a run that is finished.
    """
    code = main([command, *sys.argv[1:]])
    if "WORLD_SIZE" in os.environ:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


class _CommandParser(argparse.ArgumentParser):
    """Refuses unknown words by itself: argparse leaves them to the parser above, whose usage lacks the options."""

    def parse_known_args(self, args=None, namespace=None):
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            option = unknown[0].partition("=")[0]
            near = did_you_mean(option, self._option_string_actions) if option.startswith("--") else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}.{near} {self.prog} --help lists all.")
        return namespace, unknown


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of all sub-commands; `args.run(args)` runs the chosen one."""
    parser = argparse.ArgumentParser(prog="dtir", description="Train, test and use image-restoration networks.")
    parser.add_argument("--version", action="version", version=f"dtir {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_CommandParser)
    for name in COMMANDS:
        command = import_module(f"dtir.cli.{name}")
        sub_parser = commands.add_parser(name, help=command.HELP, description=command.DESCRIPTION)
        command.add_arguments(sub_parser)
        sub_parser.set_defaults(run=command.run)
    return parser
