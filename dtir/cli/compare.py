"""`dtir compare`: trained methods side by side, for a paper."""

import argparse
from pathlib import Path

from dtir.cli.importing import add_import_argument

HELP = "set trained methods side by side: page, tables, figures"
DESCRIPTION = (
    "Reads the work folders of trainings that were tested (dtir test), and writes one page, tables for a paper "
    "(Markdown, LaTeX, CSV), the values of every picture, figures, and pictures side by side into a folder. Runs of "
    "one NAME are seeds of one method. Differences are counted from the method that is named first."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `dtir compare`."""
    parser.add_argument("runs", nargs="+", metavar="[NAME=]DIR", help="work folder of a training")
    parser.add_argument(
        "--seeds",
        action="store_true",
        help="folders whose names differ in a last _seed<number> only are seeds of one method",
    )
    parser.add_argument(
        "--out", default="comparison", metavar="DIR", help="folder of the results (default: comparison)"
    )
    parser.add_argument(
        "--figures",
        nargs="+",
        default=["svg"],
        choices=("svg", "pdf", "png"),
        help="kinds of the figures' files (default svg); pdf needs the extra 'publish'",
    )
    add_import_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Runs `dtir compare`; returns 0.

    Raises:
        DtirError: Whatever is the user's to mend.
    """
    from rich.console import Console

    from dtir.evaluation.render import terminal_table
    from dtir.evaluation.reports.methods.cautions import cautions
    from dtir.evaluation.reports.methods.page import comparison_tables, write_comparison
    from dtir.evaluation.reports.methods.reading import read_methods

    console = Console()
    methods = read_methods([_named(text) for text in args.runs], args.seeds)
    path = write_comparison(args.out, methods, [f".{kind}" for kind in args.figures])
    for text in cautions(methods):
        console.print(f"Note: {text}", markup=False, highlight=False, soft_wrap=True)
    console.print(terminal_table(comparison_tables(methods)[0]))
    console.print(f"page, tables, figures and pictures: {path}", markup=False, soft_wrap=True)
    return 0


def _named(text: str) -> tuple[str, str]:
    name, mark, folder = text.partition("=")
    # Folders may have the mark in their own names: lr=0.1_seed0.
    return (name, folder) if mark and not Path(text).is_dir() else ("", text)
