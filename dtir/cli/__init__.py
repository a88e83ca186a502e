"""The `dtir` command, one small module per sub-command. `dtir --help` answers without a heavy import."""

from dtir.cli.main import EXIT_ERROR, build_parser, exit_code, main

__all__ = ["EXIT_ERROR", "build_parser", "exit_code", "main"]
